// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && (!linux || (quartet_plainsyscalls && !quartet_simulated))

package reactor

import (
	"errors"

	"golang.org/x/sys/unix"
)

// The same contract as sys_linux.go with x/sys's ordinary calls: for the other systems, and on Linux under a tag for
// testing them.
const ioFlags = unix.MSG_DONTWAIT | noSignal

func recv(fd int, p []byte) (int, unix.Errno) {
	n, _, err := unix.Recvfrom(fd, p, ioFlags)
	return result(n, err)
}

func send(fd int, p []byte) (int, unix.Errno) {
	n, err := unix.SendmsgN(fd, p, nil, nil, ioFlags)
	return result(n, err)
}

type gatherer struct{}

func (*gatherer) send(fd int, parts [][]byte) (int, unix.Errno) {
	n, err := unix.SendmsgBuffers(fd, parts, nil, nil, ioFlags)
	return result(n, err)
}

func result(n int, err error) (int, unix.Errno) {
	if err == nil {
		return n, 0
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		errno = unix.EIO
	}
	return 0, errno
}
