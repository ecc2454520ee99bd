// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !linux

package reactor

import (
	"errors"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

// rawAddr is unused where the ordinary calls return addresses.
type rawAddr = struct{}

// acceptOne accepts one connection.
func (a *acceptor) acceptOne() (int, FourTuple, unix.Errno) {
	fd, remote, err := socket.Accept(a.fd)
	if err != nil {
		var errno unix.Errno
		if !errors.As(err, &errno) {
			errno = unix.EIO
		}
		return -1, FourTuple{}, errno
	}
	if a.listener.isUnix() {
		return fd, FourTuple{}, 0
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, FourTuple{}, unix.ECONNABORTED
	}
	return fd, FourTuple{Local: addrPortOf(local), Remote: addrPortOf(remote)}, 0
}
