"""Any valid message, drawn from the types themselves: a new message or field is tested without
being named.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from federation.messages import Message

MOST = 3  # items of a tuple


def value(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Any value of this type, within its bounds."""
    match kind:
        case inspect.IntType():
            least = kind.ge if kind.ge is not None else -(2**63)
            most = (
                kind.le
                if kind.le is not None
                else kind.lt - 1
                if kind.lt is not None
                else 2**63 - 1
            )
            return st.integers(least, most) | st.sampled_from([least, most])
        case inspect.FloatType():
            return st.floats(kind.ge, kind.le, allow_nan=False)
        case inspect.BytesType():
            least, most = (
                kind.min_length or 0,
                (kind.max_length if kind.max_length is not None else 64),
            )
            return st.binary(min_size=least, max_size=max(least, min(most, 64)))
        case inspect.StrType():
            if kind.pattern is not None:
                return st.from_regex(kind.pattern, alphabet=st.characters(codec="ascii")).filter(
                    lambda code: len(code) <= 16
                )
            return st.text(
                min_size=kind.min_length or 0,
                max_size=kind.max_length if kind.max_length is not None else 16,
            )
        case inspect.NoneType():
            return st.none()
        case inspect.UnionType():
            return st.one_of([value(one) for one in kind.types])
        case inspect.VarTupleType():
            return st.lists(
                value(kind.item_type), min_size=kind.min_length or 0, max_size=MOST
            ).map(tuple)
        case inspect.StructType():
            return struct(kind.cls)
    raise TypeError(f"no strategy for {kind}")


def struct(cls: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Any instance. `buffers` are drawn as bytes."""
    fields = {}
    for field in inspect.type_info(cls).fields:  # type: ignore[attr-defined]
        fields[field.name] = (
            st.lists(st.binary(max_size=40), max_size=MOST).map(tuple)
            if field.name == "buffers"
            else value(field.type)
        )
    allowed = cls.buffers_allowed if issubclass(cls, Message) else 0
    return st.fixed_dictionaries(fields).map(
        lambda values: cls(
            **{
                name: drawn[:allowed] if name == "buffers" else drawn
                for name, drawn in values.items()
            }
        )
    )
