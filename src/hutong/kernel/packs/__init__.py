"""Packs and cities: folders of data, read and checked all at once. The kernel knows no engine; it is handed their
files and hooks."""

from hutong.kernel.packs.cities import City as City
from hutong.kernel.packs.cities import CityDeclaration as CityDeclaration
from hutong.kernel.packs.cities import CityFile as CityFile
from hutong.kernel.packs.cities import DepartmentDeclaration as DepartmentDeclaration
from hutong.kernel.packs.cities import read_cities as read_cities
from hutong.kernel.packs.declarations import KEPT as KEPT
from hutong.kernel.packs.declarations import NAMED as NAMED
from hutong.kernel.packs.declarations import SHARED as SHARED
from hutong.kernel.packs.evolution import changes as changes
from hutong.kernel.packs.evolution import remembered as remembered
from hutong.kernel.packs.faults import Faults as Faults
from hutong.kernel.packs.loader import PackFormat as PackFormat
from hutong.kernel.packs.loader import read_packs as read_packs
from hutong.kernel.packs.pack import Hook as Hook
from hutong.kernel.packs.pack import Pack as Pack
from hutong.kernel.packs.pack import Packs as Packs
from hutong.kernel.packs.texts import LANGUAGES as LANGUAGES
from hutong.kernel.packs.texts import Text as Text
