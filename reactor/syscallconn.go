// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// SyscallConn gives access to the descriptor, for the options and questions of getsockopt(2), setsockopt(2) and
// ioctl(2) that have no method here. The value belongs to the loop as the Conn does. Its Control calls f at once, with
// a descriptor that is good until f returns and that f must neither close nor make blocking; it fails with net.ErrClosed
// when the connection has ended. Reading and writing are the loop's: Read and Write return errors.ErrUnsupported. To read
// and write oneself, see Hijack.
func (c *Conn) SyscallConn() (syscall.RawConn, error) {
	c.assertOnLoop()
	if !c.hasFD() {
		return nil, c.noStream()
	}
	return rawConn{c}, nil
}

// hasFD says whether the descriptor is the connection's to use.
func (c *Conn) hasFD() bool { return c.phase < phaseLingering && !c.hasEnded() }

type rawConn struct{ c *Conn }

func (r rawConn) Control(f func(fd uintptr)) error {
	r.c.assertOnLoop()
	if !r.c.hasFD() {
		return net.ErrClosed
	}
	f(uintptr(r.c.fd))
	return nil
}

func (rawConn) Read(func(fd uintptr) bool) error  { return rawError("Read") }
func (rawConn) Write(func(fd uintptr) bool) error { return rawError("Write") }

func rawError(method string) error {
	return fmt.Errorf("reactor: RawConn.%s: the loop reads and writes: %w", method, errors.ErrUnsupported)
}
