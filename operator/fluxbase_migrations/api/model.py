"""What the models of the API are made of: their base, checked strings, and references to objects."""

import re
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from fluxbase_migrations.core import durations
from fluxbase_migrations.core.json_names import camel
from fluxbase_migrations.core.names import QUALIFIED_TABLE

DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
ObjectName = Annotated[str, StringConstraints(pattern=DNS_NAME, min_length=1, max_length=253)]
Key = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
QualifiedTable = Annotated[str, StringConstraints(pattern=QUALIFIED_TABLE, min_length=3, max_length=260)]
LabelText = Annotated[str, StringConstraints(max_length=317)]


def rule(expression: str, message: str) -> dict[str, str]:
    """A CEL validation."""
    return {"rule": expression, "message": message}


def _is_duration(value: str) -> str:
    if not re.fullmatch(durations.PATTERN, value, re.ASCII):
        raise ValueError(durations.ADVICE)
    return value


DURATION: Final = AfterValidator(_is_duration)
"""For the fields that :func:`duration` describes."""


def duration(*rules: dict[str, str]) -> Any:
    """The schema of a duration that keeps ``rules``, which may call ``duration(self)``.

    It has rules instead of a pattern: their messages are sentences. ``duration()`` fails for what it cannot
    hold, with the API server's own words, so it is asked only where the text is a duration.
    """
    matches = f"self.matches('{durations.PATTERN}')".replace("\\", "\\\\")
    guarded = [rule(f"!{matches} || {constraint['rule']}", constraint["message"]) for constraint in rules]
    checked: Any = {"x-kubernetes-validations": [rule(matches, durations.ADVICE), *guarded]}
    return Field(max_length=32, json_schema_extra=checked)


def text(longest: int) -> Any:
    """The schema of a text that is not empty and that a container can get as a variable."""
    plain = rule(r"!self.matches('[\\x00-\\x1f\\x7f]')", "control characters are not allowed")
    checked: Any = {"x-kubernetes-validations": [plain]}
    return Field(min_length=1, max_length=longest, json_schema_extra=checked)


def _with_rules(schema: dict[str, Any], model: Any) -> None:
    """Put a model's CEL validations into its schema."""
    if model.rules:
        schema["x-kubernetes-validations"] = model.rules


class Model(BaseModel):
    """Base of all models: camelCase in JSON, immutable, tolerant of fields from a newer version."""

    model_config = ConfigDict(
        alias_generator=camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra=_with_rules,
    )
    rules: ClassVar[list[dict[str, str]]] = []
    """CEL validations of this object."""


class KeyRef(Model):
    """One key of a Secret or ConfigMap in the set's namespace."""

    name: ObjectName
    """Name of the object, in the set's namespace."""
    key: Key
    """The key whose value is used."""


class SecretSource(Model):
    """A value from a Secret."""

    secret_key_ref: KeyRef
    """The Secret and its key."""


class CertificateSource(Model):
    """A certificate from a Secret or a ConfigMap: exactly one of the two."""

    rules: ClassVar = [
        rule(
            "has(self.secretKeyRef) != has(self.configMapKeyRef)",
            "give exactly one of secretKeyRef and configMapKeyRef",
        )
    ]

    secret_key_ref: KeyRef | None = None
    """The Secret and its key."""
    config_map_key_ref: KeyRef | None = None
    """The ConfigMap and its key."""
