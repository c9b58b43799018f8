"""The lock table: what each command of ALTER TABLE takes and does, and which statements lock no relation.

The tests hold every line to ``pg_locks`` and to the files of the really executed statement, on each server
version. From PostgreSQL's manual (ALTER TABLE) and ``AlterTableGetLockLevel`` in its sources.
"""

from collections.abc import Mapping
from typing import Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.modes import Lock


@dataclass(frozen=True, slots=True)
class Rule:
    """One command of ALTER TABLE, INDEX, VIEW and their like."""

    lock: Lock = Lock.ACCESS_EXCLUSIVE
    work: Work = Work.CATALOG
    recurses: bool = False
    """Partitions and child tables are locked as well, unless it says ONLY."""
    certain: bool = True
    """False: those only where they have something to change."""


_SUE: Final = Lock.SHARE_UPDATE_EXCLUSIVE
_TRIGGER: Final = Rule(Lock.SHARE_ROW_EXCLUSIVE, recurses=True, certain=False)

ALTER_TABLE: Final[Mapping[str, Rule]] = {
    "AT_AddColumn": Rule(recurses=True),
    "AT_ColumnDefault": Rule(recurses=True),
    "AT_DropNotNull": Rule(recurses=True),
    "AT_SetNotNull": Rule(recurses=True),
    "AT_SetExpression": Rule(work=Work.REWRITE, recurses=True),
    "AT_DropExpression": Rule(recurses=True),
    "AT_SetStatistics": Rule(_SUE, recurses=True),
    "AT_SetOptions": Rule(_SUE),
    "AT_ResetOptions": Rule(_SUE),
    "AT_SetStorage": Rule(recurses=True),
    "AT_SetCompression": Rule(recurses=True),
    "AT_DropColumn": Rule(recurses=True),
    "AT_AddConstraint": Rule(recurses=True),
    "AT_AlterConstraint": Rule(recurses=True),
    "AT_ValidateConstraint": Rule(_SUE, Work.SCAN, recurses=True),
    "AT_DropConstraint": Rule(recurses=True),
    "AT_AlterColumnType": Rule(recurses=True),
    "AT_AlterColumnGenericOptions": Rule(),
    "AT_ChangeOwner": Rule(),
    "AT_ClusterOn": Rule(_SUE),
    "AT_DropCluster": Rule(_SUE),
    "AT_SetLogged": Rule(work=Work.REWRITE),
    "AT_SetUnLogged": Rule(work=Work.REWRITE),
    "AT_DropOids": Rule(),
    "AT_SetAccessMethod": Rule(work=Work.MAY_REWRITE),
    "AT_SetTableSpace": Rule(work=Work.MAY_REWRITE),
    "AT_SetRelOptions": Rule(_SUE),
    "AT_ResetRelOptions": Rule(_SUE),
    "AT_EnableTrig": _TRIGGER,
    "AT_EnableAlwaysTrig": _TRIGGER,
    "AT_EnableReplicaTrig": _TRIGGER,
    "AT_DisableTrig": _TRIGGER,
    "AT_EnableTrigAll": _TRIGGER,
    "AT_DisableTrigAll": _TRIGGER,
    "AT_EnableTrigUser": _TRIGGER,
    "AT_DisableTrigUser": _TRIGGER,
    "AT_EnableRule": Rule(),
    "AT_EnableAlwaysRule": Rule(),
    "AT_EnableReplicaRule": Rule(),
    "AT_DisableRule": Rule(),
    "AT_AddInherit": Rule(),
    "AT_DropInherit": Rule(),
    "AT_AddOf": Rule(),
    "AT_DropOf": Rule(),
    "AT_ReplicaIdentity": Rule(),
    "AT_EnableRowSecurity": Rule(),
    "AT_DisableRowSecurity": Rule(),
    "AT_ForceRowSecurity": Rule(),
    "AT_NoForceRowSecurity": Rule(),
    "AT_GenericOptions": Rule(),
    "AT_AttachPartition": Rule(_SUE),
    "AT_DetachPartition": Rule(),
    "AT_DetachPartitionFinalize": Rule(_SUE),
    "AT_AddIdentity": Rule(recurses=True),
    "AT_SetIdentity": Rule(recurses=True),
    "AT_DropIdentity": Rule(recurses=True),
}
"""By the parser's name of the command. What depends on more than its name is in :mod:`.alter_table`."""

STRICT_OPTIONS: Final = frozenset(
    (
        *("user_catalog_table", "security_barrier", "security_invoker", "check_option"),
        *("fastupdate", "gin_pending_list_limit", "buffering", "pages_per_range", "autosummarize"),
    )
)
"""Storage options whose change takes ACCESS EXCLUSIVE; the others take SHARE UPDATE EXCLUSIVE."""

NO_RELATION: Final = frozenset(
    (
        *("transaction_stmt", "variable_set_stmt", "variable_show_stmt", "constraints_set_stmt"),
        *("listen_stmt", "unlisten_stmt", "notify_stmt", "close_portal_stmt", "deallocate_stmt"),
        *("discard_stmt", "check_point_stmt", "load_stmt"),
        *("create_function_stmt", "alter_function_stmt", "create_plang_stmt", "create_transform_stmt"),
        *("create_enum_stmt", "alter_enum_stmt", "create_range_stmt", "composite_type_stmt"),
        *("create_domain_stmt", "alter_type_stmt", "define_stmt", "create_cast_stmt"),
        *("create_conversion_stmt", "create_op_class_stmt", "create_op_family_stmt"),
        *("alter_op_family_stmt", "alter_operator_stmt", "create_am_stmt", "alter_collation_stmt"),
        *("alter_tsdictionary_stmt", "alter_tsconfiguration_stmt"),
        *("create_role_stmt", "alter_role_stmt", "alter_role_set_stmt", "drop_role_stmt", "grant_role_stmt"),
        *("alter_default_privileges_stmt", "create_event_trig_stmt", "alter_event_trig_stmt"),
        *("create_fdw_stmt", "alter_fdw_stmt", "create_foreign_server_stmt", "alter_foreign_server_stmt"),
        *("create_user_mapping_stmt", "alter_user_mapping_stmt", "drop_user_mapping_stmt"),
        *("createdb_stmt", "alter_database_stmt", "alter_database_set_stmt"),
        *("alter_database_refresh_coll_stmt", "alter_system_stmt"),
        *("create_table_space_stmt", "drop_table_space_stmt", "alter_table_space_options_stmt"),
        *("alter_object_depends_stmt", "alter_stats_stmt", "alter_extension_contents_stmt"),
        *("create_subscription_stmt", "drop_subscription_stmt"),
    )
)
"""Statements, by the parser's names, that lock no table, view, index or sequence of a user's."""

UNKNOWN: Final[Mapping[str, str]] = {
    "do_stmt": "what the block does",
    "call_stmt": "what the procedure does",
    "execute_stmt": "what the prepared statement does",
    "fetch_stmt": "what the cursor's query does",
    "create_extension_stmt": "what the extension's script does",
    "alter_extension_stmt": "what the extension's script does",
    "import_foreign_schema_stmt": "which foreign tables there are",
    "drop_owned_stmt": "what the role owns",
    "reassign_owned_stmt": "what the role owns",
    "alter_table_move_all_stmt": "which relations are in the tablespace",
    "alter_subscription_stmt": "what the publisher publishes",
}
"""Statements whose text does not say what they do, and what is not known of each."""
