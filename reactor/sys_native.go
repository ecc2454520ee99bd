// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !quartet_simulated

package reactor

import (
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// What the life of a stream needs of the system beside sys_linux.go's calls, in one place because the tag
// quartet_simulated puts another in its place, see sys_simulated.go. What only begins or hands over sockets calls x/sys
// itself.

type nativePoller = *netpoll.Poller

func openNativePoller() (nativePoller, error) { return netpoll.OpenPoller() }

// shutdownWriting sends the FIN. It fails only if the peer has reset, which reading tells.
func shutdownWriting(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }

// shutdownReading refuses what the peer sends from now on, on a unix socket. What it has sent can still be received.
func shutdownReading(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RD) }

// resetOnClose has closeSocket reset the connection.
func resetOnClose(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// readable says whether a listening socket has anybody in its backlog, or a stream has bytes, its end or an error to read.
func readable(fd int) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0
}

// socketError returns the error that the socket has, and clears it.
func socketError(fd int) unix.Errno {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return 0
	}
	return unix.Errno(errno)
}

func closeSocket(fd int) { _ = unix.Close(fd) }
