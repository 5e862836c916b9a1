"""hide_openssl.py LIB-DIR EXECUTABLE: PyPI's Milvus 2.2 crashes with S3 storage by itself. librdkafka's OpenSSL 1.1 is
inside the executable, which exports its names, so that the AWS SDK's libcrypto.so.10 (1.0.2) calls into it: SIGSEGV in
EVP_MD_CTX_clear_flags. This writes a copy of the executable in which those names are undefined in the dynamic symbol
table; the executable calls its own OpenSSL directly."""

import struct
import sys
from collections.abc import Iterator
from pathlib import Path

OLD_LIBRARIES = ("libcrypto.so.10", "libssl.so.10")
NOT_OPENSSL = ("_init", "_fini", "__bss_start", "_edata", "_end")
TAKEN_BY_ADDRESS = ("CRYPTO_malloc", "CRYPTO_realloc", "CRYPTO_free")
"""The executable needs these through the table itself."""
SYMBOL_SIZE = 24
SECTION_OF_SYMBOL = 6


def string_at(binary: bytes, at: int) -> str:
    return binary[at:binary.index(b"\0", at)].decode()


def sections(binary: bytes) -> dict[str, tuple[int, int]]:
    """Offset and size of each section."""
    offset, = struct.unpack_from("<Q", binary, 0x28)
    size, count, names = struct.unpack_from("<HHH", binary, 0x3A)
    heads = [struct.unpack_from("<IIQQQQIIQQ", binary, offset + number * size) for number in range(count)]
    return {string_at(binary, heads[names][4] + head[0]): (head[4], head[5]) for head in heads}


def defined(binary: bytes) -> Iterator[tuple[int, str]]:
    """Where each exported symbol stands in the table, and its name."""
    found = sections(binary)
    start, size = found[".dynsym"]
    for at in range(start, start + size, SYMBOL_SIZE):
        name, section = struct.unpack_from("<I", binary, at)[0], struct.unpack_from("<H", binary, at + SECTION_OF_SYMBOL)[0]
        if section:
            yield at, string_at(binary, found[".dynstr"][0] + name)


def main() -> None:
    folder, target = map(Path, sys.argv[1:])
    binary = bytearray((folder / "milvus").read_bytes())
    libraries = [folder / name for name in OLD_LIBRARIES if (folder / name).exists()]
    clashing = {name for library in libraries for _, name in defined(library.read_bytes())}
    clashing -= {*NOT_OPENSSL, *TAKEN_BY_ADDRESS}
    for at, name in list(defined(bytes(binary))):
        if name in clashing:
            struct.pack_into("<H", binary, at + SECTION_OF_SYMBOL, 0)
    partly = target.with_suffix(".part")
    partly.write_bytes(binary)
    partly.chmod(0o755)
    partly.rename(target)


if __name__ == "__main__":
    main()
