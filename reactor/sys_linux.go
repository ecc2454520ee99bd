// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux && !quartet_plainsyscalls && !quartet_simulated

package reactor

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The four calls of the hot path are raw: they skip the scheduler's bookkeeping, which is safe only because they
// cannot block. O_NONBLOCK does not promise that, it belongs to the open file and another process may clear it;
// MSG_DONTWAIT does. A raw call that blocked would stop the garbage collector and with it the process.
const ioFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// recv is recvfrom(2) without an address. 0 and no error is the peer's end.
func recv(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), ioFlags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// send is sendto(2) without an address, cheaper than sendmsg for a single part.
func send(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), ioFlags, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// A gatherer sends several parts with one call. It is kept by its loop, so that nothing is allocated for a call.
type gatherer struct {
	iov [maxParts]unix.Iovec
	hdr unix.Msghdr
}

// send is sendmsg(2) of parts, of which there are 1 to maxParts, none empty.
func (g *gatherer) send(fd int, parts [][]byte) (int, unix.Errno) {
	for i, p := range parts {
		g.iov[i].Base = unsafe.SliceData(p)
		g.iov[i].SetLen(len(p))
	}
	g.hdr.Iov = &g.iov[0]
	g.hdr.SetIovlen(len(parts))
	n, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&g.hdr)), ioFlags)
	clear(g.iov[:len(parts)])
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}
