"""The page of roles: who may do what, and up to which grade they see."""

from hutong.kernel.access import ACTIONS, ROLES

_INTRODUCTION = """Written by `hutong reference` from `kernel/access.py`, where all access is decided. What a role does
not allow is denied. Each type and property has a grade: `open` (everybody), `agreement` (by a grant with purpose and
end), `closed` (those whose work it is). Who has no token has the role `resident`.

权限只在一处判定，未明确允许的一律拒绝。数据分三级：公开、依申请、不公开；没有令牌的访问者按 `resident`（市民）处理。"""


def roles() -> str:
    """Roles and actions as Markdown, each role with a heading of its own."""
    parts = ["# Roles 角色", "", _INTRODUCTION]
    for name, role in ROLES.items():
        allowed = "everything" if role.actions == ACTIONS else ", ".join(f"`{one}`" for one in sorted(role.actions))
        bound = " Only for the types that its token names." if role.bound else ""
        seen = f"Sees up to the grade `{role.clearance.name.lower()}`."
        parts += ["", f"## `{name}`", "", f"May do: {allowed}. {seen}{bound}"]
    return "\n".join(parts) + "\n"
