// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build !quartet_simulated

package reactor

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// accept4 is accept4(2), which leaves the peer's address in raw. It is an ordinary call, for it could block.
func accept4(fd int, raw *rawAddr) (int, unix.Errno) {
	size := uint32(unsafe.Sizeof(*raw))
	n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(raw)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}

// queued returns how many bytes wait in the socket to be received: more may have come since.
func queued(fd int) int {
	n, _ := unix.IoctlGetUint32(fd, unix.SIOCINQ)
	return int(n)
}
