"""Stands between SQLite and the disk: shows an observer each deed, and refuses those that it refuses.

A copy of SQLite's own VFS whose files get a copied table of methods, with those replaced that change a
disk; everything else, locks and shared memory among it, stays SQLite's. `os.rename`, `os.unlink` and
`os.fsync` are watched as well, because the buffer calls them itself.
"""

import _sqlite3
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p, cast
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from crash_points.disk_deeds import Deed, Kind, Observer

OK, FULL, CANTOPEN = 0, 13, 14
_IOERR_WRITE, _IOERR_FSYNC, _IOERR_TRUNCATE = 778, 1034, 1546
_IOERR_DELETE, _IOERR_SHMSIZE = 2570, 4874
_OPEN_CREATE = 0x4
_ANSWERS = {
    Kind.OPEN: CANTOPEN,
    Kind.CREATE: CANTOPEN,
    Kind.WRITE: _IOERR_WRITE,
    Kind.TRUNCATE: _IOERR_TRUNCATE,
    Kind.SYNC: _IOERR_FSYNC,
    Kind.SYNC_DIRECTORY: CANTOPEN,
    Kind.UNLINK: _IOERR_DELETE,
    Kind.MAP_SHARED: _IOERR_SHMSIZE,
}
"""What SQLite's unix VFS makes of an errno; only ENOSPC of a write is told apart."""

_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_SHM_MAP = CFUNCTYPE(c_int, c_void_p, c_int, c_int, c_int, c_void_p)
_OPEN_DIRECTORY = CFUNCTYPE(c_int, c_char_p, POINTER(c_int))
_SET_SYSTEM_CALL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_GET_SYSTEM_CALL = CFUNCTYPE(c_void_p, c_void_p, c_char_p)


class _Vfs(Structure):
    _fields_ = [
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes_max", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("app_data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("_unwatched", c_void_p * 11),
        ("set_system_call", c_void_p),
        ("get_system_call", c_void_p),
        ("next_system_call", c_void_p),
    ]


class _Methods(Structure):
    _fields_ = [
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("_unwatched", c_void_p * 7),
        ("shm_map", c_void_p),
        ("_rest", c_void_p * 5),
    ]


class _File(Structure):
    _fields_ = [("methods", POINTER(_Methods))]


@contextmanager
def watched(directory: Path, observer: Observer) -> Iterator[None]:
    """Show `observer` what is done in `directory`: by SQLite connections opened inside, and by the calls of `os`."""
    with _vfs().watching(directory, observer), _watched_calls(directory.resolve(), observer):
        yield


class _WatchedVfs:
    """The copied VFS. Once made it lives as long as the process, because connections point at it."""

    def __init__(self) -> None:
        # The extension module's handle reaches the very library that it is linked with.
        self._library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        if not hasattr(self._library, "sqlite3_vfs_find"):
            pytest.skip("this Python was built with an SQLite that nothing can stand in front of")
        self._library.sqlite3_vfs_find.restype = POINTER(_Vfs)
        self._usual = self._library.sqlite3_vfs_find(None)
        self._vfs = _Vfs.from_buffer_copy(self._usual.contents)
        self._vfs.name = b"watched"
        self._paths: dict[int, Path] = {}
        self._methods: dict[int, _Methods] = {}
        self._alive: list[Any] = []
        self._original_methods: dict[int, _Methods] = {}
        self.observer: Observer | None = None
        self.directory = Path()
        self._vfs.open = self._callback(_OPEN, self._open)
        self._vfs.delete = self._callback(_DELETE, self._delete)

    @contextmanager
    def watching(self, directory: Path, observer: Observer) -> Iterator[None]:
        """Show `observer` what is done in `directory` by connections that are opened inside."""
        name = c_char_p(b"openDirectory")
        open_directory = _GET_SYSTEM_CALL(self._vfs.get_system_call)(byref(self._vfs), name)
        set_system_call = _SET_SYSTEM_CALL(self._vfs.set_system_call)
        watched = _OPEN_DIRECTORY(lambda path, descriptor: self._open_directory(open_directory, path, descriptor))
        self.directory, self.observer = directory.resolve(), observer
        self._library.sqlite3_vfs_register(byref(self._vfs), 1)
        set_system_call(byref(self._vfs), name, cast(watched, c_void_p))
        try:
            yield
        finally:
            set_system_call(byref(self._vfs), name, None)
            self._library.sqlite3_vfs_register(self._usual, 1)
            self._library.sqlite3_vfs_unregister(byref(self._vfs))
            self.observer = None

    def attempt(self, deed: Deed, do: Callable[[], int], *, failed: Callable[[], None] | None = None) -> int:
        """Do it unless it is refused; return SQLite's code."""
        if self.observer is None or self.directory not in (deed.path, *deed.path.parents):
            return do()
        refusal = self.observer.refuses(deed)
        if refusal is not None:
            if failed is not None:
                failed()
            return FULL if refusal == errno.ENOSPC and deed.kind is Kind.WRITE else _ANSWERS[deed.kind]
        code = do()
        if code == OK:
            self.observer.done(deed)
        return code

    def _open(self, vfs: int, name: int | None, file: int, flags: int, out_flags: Any) -> int:
        original = _OPEN(self._usual.contents.open)
        if name is None:
            return int(original(vfs, name, file, flags, out_flags))
        path = Path(os.fsdecode(ctypes.string_at(name)))
        is_new = flags & _OPEN_CREATE and not path.exists()
        deed = Deed(Kind.CREATE if is_new else Kind.OPEN, path)
        # SQLite looks at this even when the file was not opened.
        _File.from_address(file).methods = POINTER(_Methods)()
        code = self.attempt(deed, lambda: int(original(vfs, name, file, flags, out_flags)))
        if code == OK:
            self._paths[file] = path
            opened = _File.from_address(file)
            opened.methods = ctypes.pointer(self._watched_methods(opened.methods.contents))
        return code

    def _watched_methods(self, original: _Methods) -> _Methods:
        """Copy a table of methods, once each."""
        address = ctypes.addressof(original)
        if address not in self._methods:
            methods = _Methods.from_buffer_copy(original)
            methods.close = self._callback(_CLOSE, lambda file: self._close(original, file))
            methods.write = self._callback(_WRITE, lambda *given: self._write(original, *given))
            methods.truncate = self._callback(_TRUNCATE, lambda *given: self._truncate(original, *given))
            methods.sync = self._callback(_SYNC, lambda *given: self._sync(original, *given))
            if original.version >= 2 and original.shm_map:
                methods.shm_map = self._callback(_SHM_MAP, lambda *given: self._shm_map(original, *given))
            self._methods[address] = methods
        return self._methods[address]

    def _close(self, original: _Methods, file: int) -> int:
        self._paths.pop(file, None)
        return int(_CLOSE(original.close)(file))

    def _write(self, original: _Methods, file: int, data: int, count: int, offset: int) -> int:
        write = _WRITE(original.write)
        deed = Deed(Kind.WRITE, self._paths[file], offset, ctypes.string_at(data, count))
        return self.attempt(
            deed,
            lambda: int(write(file, data, count, offset)),
            # A disk that refuses in the middle has taken the first half.
            failed=lambda: write(file, data, count // 2, offset) and None,
        )

    def _truncate(self, original: _Methods, file: int, size: int) -> int:
        deed = Deed(Kind.TRUNCATE, self._paths[file], size=size)
        return self.attempt(deed, lambda: int(_TRUNCATE(original.truncate)(file, size)))

    def _sync(self, original: _Methods, file: int, flags: int) -> int:
        return self.attempt(Deed(Kind.SYNC, self._paths[file]), lambda: int(_SYNC(original.sync)(file, flags)))

    def _shm_map(self, original: _Methods, file: int, *page_size_extend_out: int) -> int:
        def do() -> int:
            return int(_SHM_MAP(original.shm_map)(file, *page_size_extend_out))

        is_extending = page_size_extend_out[2]
        return self.attempt(Deed(Kind.MAP_SHARED, self._paths[file]), do) if is_extending else do()

    def _delete(self, vfs: int, name: bytes, sync_directory: int) -> int:
        path = Path(os.fsdecode(name))
        if not path.exists():
            return int(_DELETE(self._usual.contents.delete)(vfs, name, sync_directory))
        return self.attempt(
            Deed(Kind.UNLINK, path), lambda: int(_DELETE(self._usual.contents.delete)(vfs, name, sync_directory))
        )

    def _open_directory(self, original: int, path: bytes, descriptor: Any) -> int:
        """Take part when SQLite opens a file's directory, which it does only to sync it."""
        deed = Deed(Kind.SYNC_DIRECTORY, Path(os.fsdecode(path)).parent)
        return self.attempt(deed, lambda: int(_OPEN_DIRECTORY(original)(path, descriptor)))

    def _callback(self, kind: Any, call: Callable[..., int]) -> int | None:
        callback = kind(call)
        self._alive.append(callback)
        return cast(callback, c_void_p).value


@cache
def _vfs() -> _WatchedVfs:
    return _WatchedVfs()


@contextmanager
def _watched_calls(directory: Path, observer: Observer) -> Iterator[None]:
    rename, unlink, fsync = os.rename, os.unlink, os.fsync

    def attempt(deed: Deed, do: Callable[[], None]) -> None:
        if directory not in (deed.path, *deed.path.parents):
            return do()
        refusal = observer.refuses(deed)
        if refusal is not None:
            raise OSError(refusal, os.strerror(refusal), str(deed.path))
        do()
        return observer.done(deed)

    def watched_rename(source: str | Path, target: str | Path) -> None:
        attempt(Deed(Kind.RENAME, Path(source), target=Path(target)), lambda: rename(source, target))

    def watched_unlink(path: str | Path) -> None:
        if Path(path).exists():
            return attempt(Deed(Kind.UNLINK, Path(path)), lambda: unlink(path))
        return unlink(path)

    def watched_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        kind = Kind.SYNC_DIRECTORY if path.is_dir() else Kind.SYNC
        attempt(Deed(kind, path), lambda: fsync(descriptor))

    with (
        mock.patch.object(os, "rename", watched_rename),
        mock.patch.object(os, "unlink", watched_unlink),
        mock.patch.object(os, "fsync", watched_fsync),
    ):
        yield
