"""The aliases and tags of a registered model in the store: each call is one request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from fishline.core.errors import UserError
from fishline.tracking.metric_buffer import LOST, short
from fishline.tracking.store import connect, tracking_uri


class RegisteredModel:
    """The registered model `name`; see champion.py for the order these are written in.

    Raises:
        UserError: the store cannot be reached. The methods raise MLflow's errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._store = connect()

    def aliases(self) -> dict[str, int]:
        aliases = self._store.get_registered_model(self.name).aliases
        return {alias: int(number) for alias, number in aliases.items()}

    def set_alias(self, alias: str, number: int) -> None:
        """Point `alias` to a version."""
        # Of two that make an alias at once, some databases refuse one; it is there then.
        try:
            self._store.set_registered_model_alias(self.name, alias, str(number))
        except MlflowException:
            self._store.set_registered_model_alias(self.name, alias, str(number))

    def tags(self) -> dict[str, str]:
        return dict(self._store.get_registered_model(self.name).tags)

    def tag(self, key: str, value: str) -> None:
        self._store.set_registered_model_tag(self.name, key, value)

    def version_tags(self, number: int) -> dict[str, str] | None:
        """None if there is no such version."""
        try:
            return dict(self._store.get_model_version(self.name, str(number)).tags)
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                return None
            raise

    def tag_version(self, number: int, key: str, value: str) -> None:
        self._store.set_model_version_tag(self.name, str(number), key, value)


@contextmanager
def needs_registry() -> Iterator[None]:
    """Make the loss of the store between two writes a message.

    Raises:
        UserError: whatever was written, aliases are whole.
    """
    try:
        yield
    except LOST as error:
        raise UserError(
            f"the registry in {tracking_uri()} cannot be used: {short(error)}\n"
            "The champion is the former or the new one, never half of either; `fishline history` "
            "says which."
        ) from None
