"""Scores: what a search or an evaluation says about one document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any, Protocol, SupportsFloat, cast, runtime_checkable

from docarray.errors import FieldTypeError, UnknownField, near_miss

__all__ = ["NamedScore", "Scores"]

_NAMES = ("value", "op_name", "description", "ref_id")


@runtime_checkable
class _Scalar(Protocol):
    """A 0-d number of some array library."""

    def item(self) -> Any: ...


class NamedScore:
    """One score: its value, the operation that gave it, a description and the id it refers to.

    What is not given stays unset, reads as its default (0.0 or '') and is left out of `to_dict`.

    >>> NamedScore(value=0.25, op_name='cosine')
    NamedScore(value=0.25, op_name='cosine')
    >>> NamedScore({'value': 1}).to_dict()
    {'value': 1.0}
    """

    __slots__ = ("_description", "_op_name", "_ref_id", "_value")

    def __init__(
        self,
        _obj: NamedScore | Mapping[str, Any] | float | None = None,
        *,
        value: SupportsFloat | None = None,
        op_name: str | None = None,
        description: str | None = None,
        ref_id: str | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            name = next(iter(unknown))
            raise UnknownField(f"a NamedScore has no field {name!r}. {near_miss(name, _NAMES)}")
        self._op_name = self._description = self._ref_id = None
        self._value: float | None = None
        if _obj is not None:
            self._take(_obj)
        if value is not None:
            self.value = value
        if op_name is not None:
            self.op_name = op_name
        if description is not None:
            self.description = description
        if ref_id is not None:
            self.ref_id = ref_id

    def _take(self, obj: object) -> None:
        if isinstance(obj, NamedScore):
            self._value, self._op_name = obj._value, obj._op_name
            self._description, self._ref_id = obj._description, obj._ref_id
        elif isinstance(obj, Mapping):
            for name, value in cast("Mapping[str, Any]", obj).items():
                if name not in _NAMES:
                    raise UnknownField(f"a NamedScore has no field {name!r}. {near_miss(name, _NAMES)}")
                setattr(self, name, value)
        else:
            self.value = cast("SupportsFloat", obj)

    @property
    def value(self) -> float:
        """The number, without unit; 0.0 when unset."""
        return 0.0 if self._value is None else self._value

    @value.setter
    def value(self, value: SupportsFloat | None) -> None:
        if value is None:
            self._value = None
        elif isinstance(value, Real) or (isinstance(value, _Scalar) and isinstance(value.item(), Real)):
            self._value = float(value)
        else:
            raise FieldTypeError(f"a score's value is a number; got {value!r} ({type(value).__name__})")

    @property
    def op_name(self) -> str:
        """The operation that gave the value, such as 'cosine'."""
        return self._op_name or ""

    @op_name.setter
    def op_name(self, text: str | None) -> None:
        self._op_name = _checked("op_name", text)

    @property
    def description(self) -> str:
        """'distance' or 'similarity' for scores of a search; free text otherwise."""
        return self._description or ""

    @description.setter
    def description(self, text: str | None) -> None:
        self._description = _checked("description", text)

    @property
    def ref_id(self) -> str:
        """The id of the document that the score refers to."""
        return self._ref_id or ""

    @ref_id.setter
    def ref_id(self, text: str | None) -> None:
        self._ref_id = _checked("ref_id", text)

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is the better one; distances, the default, are better when small."""
        return self.description == "similarity"

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set, by name."""
        pairs = zip(_NAMES, (self._value, self._op_name, self._description, self._ref_id), strict=True)
        return {name: value for name, value in pairs if value is not None}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NamedScore):
            return NotImplemented
        return (
            self.value == other.value
            and self.op_name == other.op_name
            and self.description == other.description
            and self.ref_id == other.ref_id
        )

    def __repr__(self) -> str:
        return f"NamedScore({', '.join(f'{name}={value!r}' for name, value in self.to_dict().items())})"

    def __copy__(self) -> NamedScore:
        return NamedScore(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> NamedScore:
        return NamedScore(self)

    def __reduce__(self) -> tuple[type[NamedScore], tuple[dict[str, Any]]]:
        return NamedScore, (self.to_dict(),)


def _checked(name: str, text: object) -> Any:
    if text is not None and not isinstance(text, str):
        raise FieldTypeError(f"a score's {name} is a str; got {text!r} ({type(text).__name__})")
    return text


class Scores(dict[str, NamedScore]):
    """Scores by name. Numbers and dicts become `NamedScore`; a name that is read first is made.

    >>> scores = Scores({'bm25': 3})
    >>> scores['cosine'].value = 0.5
    >>> scores
    {'bm25': NamedScore(value=3.0), 'cosine': NamedScore(value=0.5)}
    """

    __slots__ = ()

    def __init__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), **named: Any) -> None:
        super().__init__()
        self.update(other, **named)

    def __missing__(self, name: str) -> NamedScore:
        score = NamedScore()
        super().__setitem__(name, score)
        return score

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value if isinstance(value, NamedScore) else NamedScore(value))

    def update(self, other: Any = (), /, **named: Any) -> None:
        """Sets many; all are converted before any is set."""
        fresh = {
            name: v if isinstance(v, NamedScore) else NamedScore(v)
            for name, v in dict(other, **named).items()
        }
        super().update(fresh)

    def setdefault(self, name: str, default: Any = None, /) -> NamedScore:
        """The score of that name, made from `default` when there is none."""
        if name not in self:
            self[name] = NamedScore() if default is None else default
        return self[name]

    def __ior__(self, other: Any) -> Scores:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.update(other)
        return self

    def __reduce__(self) -> tuple[type[Scores], tuple[dict[str, NamedScore]]]:
        return Scores, (dict(self),)
