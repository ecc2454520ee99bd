// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix && !linux

package load

import "golang.org/x/sys/unix"

func send(fd int, p []byte) (int, error) { return unix.Write(fd, p) }

func receive(fd int, p []byte) (int, error) { return unix.Read(fd, p) }

func newSocket(family, kind int) (int, error) {
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	return fd, unix.SetNonblock(fd, true)
}

// bindSource does nothing: only Linux has all of 127.0.0.0/8 without configuration.
func bindSource(int, [4]byte) error { return nil }
