"""An export as libnbd sees it. Each check is a function; what it finds wrong raises. Prints the names of those that passed.

The environment says where: MEMORY, READ_ONLY, CHAIN and FAULTY are sockets, ORIGINS the origin names as JSON.
"""

import errno
import json
import os

import nbd

SIZE = 64 << 20
ORIGIN = "rootloom:origin"


def connect(socket, contexts=(), structured=True, strict=True, opt_mode=False):
    handle = nbd.NBD()
    for context in contexts:
        handle.add_meta_context(context)
    if not structured:
        handle.set_request_structured_replies(False)
    if opt_mode:
        handle.set_opt_mode(True)
    handle.connect_unix(os.environ[socket])
    if not strict:
        handle.set_strict_mode(0)
    return handle


def must_fail(number, call):
    try:
        call()
    except nbd.Error as error:
        assert error.errnum == number, (error.errno, number)
        return
    raise AssertionError(f"succeeded, {errno.errorcode[number]} was expected")


def option_haggling():
    handle = connect("MEMORY", opt_mode=True)
    exports = []
    assert handle.opt_list(lambda name, description: exports.append(name)) == 1
    assert exports == ["disk"], exports
    handle.set_export_name("another")
    must_fail(errno.ENOENT, handle.opt_info)
    must_fail(errno.ENOENT, handle.opt_go)
    handle.set_export_name("disk")
    handle.opt_info()
    assert handle.get_size() == SIZE and not handle.is_read_only()
    contexts = []
    handle.opt_list_meta_context(contexts.append)
    assert contexts == ["base:allocation"], contexts
    handle.opt_go()
    assert handle.get_size() == SIZE and handle.get_structured_replies_negotiated()
    assert handle.get_block_size(nbd.SIZE_MINIMUM) == 1 and handle.get_block_size(nbd.SIZE_MAXIMUM) == 32 << 20
    handle.shutdown()


def option_abort():
    handle = connect("MEMORY", opt_mode=True)
    handle.opt_abort()


def tls_is_refused_and_the_session_goes_on():
    handle = nbd.NBD()
    handle.set_tls(nbd.TLS_REQUIRE)
    try:
        handle.connect_unix(os.environ["MEMORY"])
        raise AssertionError("connected with TLS")
    except nbd.Error as error:
        assert "TLS" in error.string, error.string
    handle = nbd.NBD()
    handle.set_tls(nbd.TLS_ALLOW)
    handle.connect_unix(os.environ["MEMORY"])
    assert not handle.get_tls_negotiated()
    assert handle.get_size() == SIZE


def simple_replies():
    handle = connect("MEMORY", structured=False, strict=False)
    assert not handle.get_structured_replies_negotiated() and not handle.can_df()
    data = os.urandom(100001)
    handle.pwrite(data, 12345)
    assert handle.pread(len(data), 12345) == data
    must_fail(errno.EINVAL, lambda: handle.pread(4096, SIZE))
    must_fail(errno.ENOSPC, lambda: handle.pwrite(bytes(4096), SIZE))
    assert handle.pread(len(data), 12345) == data


def read_in_chunks(handle, count, offset, flags=0):
    chunks = []

    def chunk(data, at, status, error):
        chunks.append((at, len(data), status))

    data = handle.pread_structured(count, offset, chunk, flags)
    return data, chunks


def sparse_reads():
    handle = connect("MEMORY")
    handle.zero(2 << 20, 0)
    block = os.urandom(65536)
    handle.pwrite(block, 1 << 20)
    data, chunks = read_in_chunks(handle, 2 << 20, 0)
    assert data == bytes(1 << 20) + block + bytes((1 << 20) - len(block))
    assert chunks == [
        (0, 1 << 20, nbd.READ_HOLE),
        (1 << 20, 65536, nbd.READ_DATA),
        ((1 << 20) + 65536, (1 << 20) - 65536, nbd.READ_HOLE),
    ], chunks


def reads_that_must_not_be_fragmented():
    handle = connect("MEMORY")
    handle.zero(2 << 20, 0)
    handle.pwrite(b"x", 1 << 20)
    data, chunks = read_in_chunks(handle, 2 << 20, 0, nbd.CMD_FLAG_DF)
    assert chunks == [(0, 2 << 20, nbd.READ_DATA)], chunks
    assert data[1 << 20] == ord("x")


def block_status(handle, count, offset, flags=0):
    found = {}
    handle.block_status(count, offset, lambda context, at, entries, error: found.update({context: entries}), flags)
    return found


def allocation():
    handle = connect("MEMORY", ["base:allocation"])
    assert handle.can_meta_context("base:allocation") and not handle.can_meta_context(ORIGIN)
    handle.zero(4 << 20, 0)
    handle.pwrite(os.urandom(8192), 65536)
    hole = nbd.STATE_HOLE | nbd.STATE_ZERO
    expected = [65536, hole, 8192, 0, (1 << 20) - 65536 - 8192, hole]
    assert block_status(handle, 1 << 20, 0) == {"base:allocation": expected}
    assert block_status(handle, 1 << 20, 0, nbd.CMD_FLAG_REQ_ONE) == {"base:allocation": expected[:2]}


def origins():
    handle = connect("CHAIN", ["base:allocation", ORIGIN])
    assert handle.is_read_only() and handle.can_meta_context(ORIGIN)
    found = block_status(handle, handle.get_size(), 0)
    assert set(found) == {"base:allocation", ORIGIN}, found
    entries = found[ORIGIN]
    names = {0: None}
    lister = connect("CHAIN", [ORIGIN + ":"], opt_mode=True)
    lister.opt_list_meta_context(lambda name: names.update([parse_origin(name)]))
    lister.opt_abort()
    told = [[length, names[number]] for length, number in zip(entries[::2], entries[1::2])]
    assert told == json.loads(os.environ["ORIGINS"]), told


def parse_origin(name):
    number, _, origin = name.removeprefix(ORIGIN + ":").partition("=")
    return int(number), origin


def zeroing_and_trimming():
    handle = connect("MEMORY", ["base:allocation"])
    handle.pwrite(b"\xff" * (1 << 20), 0)
    handle.zero(65536, 0, nbd.CMD_FLAG_NO_HOLE)
    assert block_status(handle, 65536, 0) == {"base:allocation": [65536, 0]}
    handle.zero(65536, 65536, nbd.CMD_FLAG_FAST_ZERO)
    assert block_status(handle, 65536, 65536)["base:allocation"][1] & nbd.STATE_ZERO
    must_fail(errno.ENOTSUP, lambda: handle.zero(65536, 0, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE))
    handle.trim(65536, 131072, nbd.CMD_FLAG_FUA)
    assert handle.pread(196608, 0) == bytes(196608)
    assert handle.pread(65536, 196608) == b"\xff" * 65536
    handle.cache(1 << 20, 0)
    handle.flush()
    handle.pwrite(b"durable", 0, nbd.CMD_FLAG_FUA)


def requests_that_make_no_sense():
    handle = connect("MEMORY", ["base:allocation"], strict=False)
    must_fail(errno.EINVAL, lambda: handle.pread(4096, SIZE - 1))
    must_fail(errno.ENOSPC, lambda: handle.pwrite(bytes(4096), SIZE - 1))
    must_fail(errno.ENOSPC, lambda: handle.zero(4096, SIZE))
    must_fail(errno.EINVAL, lambda: handle.trim(4096, SIZE))
    must_fail(errno.EINVAL, lambda: handle.cache(4096, SIZE))
    must_fail(errno.EINVAL, lambda: handle.pwrite(b"x", 0, nbd.CMD_FLAG_DF))
    must_fail(errno.EINVAL, lambda: handle.trim(4096, 0, nbd.CMD_FLAG_NO_HOLE))
    must_fail(errno.EINVAL, lambda: handle.trim(0, 0))
    must_fail(errno.EINVAL, lambda: handle.pwrite(bytes(33 << 20), 0))
    handle.pwrite(b"still here", 4096)
    assert handle.pread(10, 4096) == b"still here"


def no_context_no_status():
    handle = connect("MEMORY", strict=False)
    must_fail(errno.EINVAL, lambda: block_status(handle, 4096, 0))


def read_only():
    handle = connect("READ_ONLY", strict=False)
    assert handle.is_read_only() and not handle.can_trim() and not handle.can_zero()
    must_fail(errno.EPERM, lambda: handle.pwrite(b"x", 0))
    must_fail(errno.EPERM, lambda: handle.trim(4096, 0))
    must_fail(errno.EPERM, lambda: handle.zero(4096, 0))
    handle.flush()
    assert len(handle.pread(4096, 0)) == 4096


def errors_of_the_device():
    handle = connect("FAULTY")
    must_fail(errno.EIO, lambda: handle.pread(4096, 0))
    must_fail(errno.EIO, lambda: read_in_chunks(handle, 4096, 0))
    must_fail(errno.EIO, lambda: handle.pread(8 << 20, 0))
    assert handle.pread(4096, 0) == bytes(4096)


def many_requests_under_way():
    handle = connect("MEMORY")
    blocks = [os.urandom(4096 + 512 * i) for i in range(64)]
    cookies = [
        handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(block)), i << 16) for i, block in enumerate(blocks)
    ]
    while handle.aio_in_flight() > 0:
        handle.poll(-1)
    assert all(handle.aio_command_completed(cookie) for cookie in cookies)
    buffers = [nbd.Buffer(len(block)) for block in blocks]
    cookies = [handle.aio_pread(buffer, i << 16) for i, buffer in enumerate(buffers)]
    while handle.aio_in_flight() > 0:
        handle.poll(-1)
    assert all(handle.aio_command_completed(cookie) for cookie in cookies)
    assert [bytes(buffer.to_bytearray()) for buffer in buffers] == blocks


CHECKS = [
    option_haggling,
    option_abort,
    tls_is_refused_and_the_session_goes_on,
    simple_replies,
    sparse_reads,
    reads_that_must_not_be_fragmented,
    allocation,
    origins,
    zeroing_and_trimming,
    requests_that_make_no_sense,
    no_context_no_status,
    read_only,
    errors_of_the_device,
    many_requests_under_way,
]

for check in CHECKS:
    check()
    print(check.__name__, flush=True)
