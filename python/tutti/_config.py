"""How a communicator is to be made, as the library reads it."""
import ctypes
from typing import Any, Mapping, Optional

from ._calls import Timeout, milliseconds
from ._library import Config, GetFunction, SetFunction, StoreCallbacks, lib


class ConfigBuilder:
    """struct: the tutti_config.  failure: what the store raised, if it did."""

    def __init__(self, rank: Optional[int], size: Optional[int], store: Any, id: Optional[bytes], name: Optional[str],
                 timeout: Optional[Timeout], settings: Optional[Mapping[str, Any]]):
        self.struct = struct = Config()
        self.failure: Optional[BaseException] = None
        lib.tutti_config_init_sized(ctypes.byref(struct), ctypes.sizeof(struct))
        if rank is not None:
            struct.rank = rank
        if size is not None:
            struct.size = size
        if id is not None:
            if len(id) != 128:
                raise ValueError(f"id has {len(id)} bytes, and what unique_id() returns has 128")
            self._id = ctypes.create_string_buffer(bytes(id), 128)
            struct.id = ctypes.addressof(self._id)
        if isinstance(store, str):
            struct.store = store.encode()
        elif store is not None:
            if not callable(getattr(store, "set", None)) or not callable(getattr(store, "get", None)):
                raise TypeError(f"store is a {type(store).__name__}: give \"host:port\", \"file:/path\", or an object with "
                                "set(key, value) and get(key, timeout)")
            self._store = store
            self._callbacks = StoreCallbacks(SetFunction(self._set), GetFunction(self._get), None)
            struct.callbacks = ctypes.pointer(self._callbacks)
        if name is not None:
            struct.name = name.encode()
        if timeout is not None:
            struct.timeout_ms = milliseconds(timeout)
        if settings:
            lines = [f"{key}={value}".encode() for key, value in settings.items()]
            self._settings = (ctypes.c_char_p * (len(lines) + 1))(*lines, None)
            struct.settings = self._settings

    def _set(self, _context: Any, key: bytes, value: int, length: int) -> int:
        try:
            self._store.set(key.decode(), ctypes.string_at(value, length))
        except BaseException as error:  # nothing may be raised into the library
            self.failure = error
            return 1
        return 0

    def _get(self, _context: Any, key: bytes, value: int, length: Any, timeout_ms: int) -> int:
        try:
            found = bytes(self._store.get(key.decode(), timeout_ms / 1000))
            if len(found) > length[0]:
                raise ValueError(f"the store returned {len(found)} bytes for {key.decode()}, which takes at most {length[0]}")
        except BaseException as error:
            self.failure = error
            return 1
        ctypes.memmove(value, found, len(found))
        length[0] = len(found)
        return 0
