"""Bounds and measures of the history lake, each with its name."""

import msgspec


class LakeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much stays in memory, how files are cut, what DuckDB may use. Rows, bytes, files, hours as named."""

    recent_rows_due: int = 250_000  # from here on a compaction is due; one takes about 0.6 KB a row for a moment
    recent_rows_max: int = 2_000_000  # beyond this, or the bytes, writers are refused
    recent_bytes_max: int = 1 << 30
    pending_rows_max: int = 32_768  # unsorted rows and frames that a reader may have to walk through
    pending_frames_max: int = 64
    chunk_rows: int = 131_072  # a sorted chunk of recent rows is left alone from this size on

    row_group_rows: int = 122_880  # as DuckDB hands rows out, so that merged files are cut the same way
    page_rows: int = 8_192  # the page index lets a reader skip to one entity's pages
    zstd_level: int = 1
    file_rows_max: int = 4_194_304  # a file of this size is not merged again
    merge_files_min: int = 8  # files of one type and month that are worth a merge
    merge_growth_max: int = 4  # a file joins a merge when it is at most so many times what the smaller ones hold
    merge_rows_max: int = 16_777_216  # of one merge
    obsolete_hours_kept: int = 24  # how long readers elsewhere may go on with files that were replaced

    query_memory: str = "512MB"
    query_spill_max: str = "16GB"  # on disk, for merges that memory cannot sort
    query_threads: int = 2
    question_seconds_max: float = 30.0  # how long a reader's question may take
    query_retries: int = 3  # when a file vanishes under a query because it was merged or erased meanwhile
