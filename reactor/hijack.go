// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/panjf2000/gnet/v2/pkg/socket"
)

// Hijack takes the connection from the reactor and returns it as a *net.TCPConn or *net.UnixConn, for code that reads
// and writes as it likes on a goroutine of its own, and what had been received and not consumed, a copy, nil if
// nothing. The reactor does nothing more with the connection; the caller has to close it. A Ref answers net.ErrClosed,
// and the handler's Close follows, its last call as always, with ErrHijacked.
//
// What is unconsumed depends on where Hijack is called. Inside Data it is all of in, for what Data will return is not
// known yet: the caller skips what it has dealt with. Inside Frame it begins after the frame. Inside EOF it is rest, and
// elsewhere what Data left. After CloseRead there is nothing.
//
// What was written is sent first, and nothing of it is lost: where the kernel does not take all of it, or Ref.Write has
// queued more, Hijack returns an error that is ErrUnsent and the connection stays as it was; so it does if there is no
// descriptor left for the new one. In the accept func there is nothing to hijack yet; once Close or Abort was called the
// error is net.ErrClosed. Package net sets its own defaults of TCP_NODELAY and keep-alive.
func (c *Conn) Hijack() (net.Conn, []byte, error) {
	c.assertOnLoop()
	switch {
	case c.phase != phaseOpen || c.flags&(fClose|fFailed) != 0:
		return nil, nil, c.noStream()
	case c.handler == nil:
		return nil, nil, errors.New("reactor: Hijack called in an accept func")
	}
	if err := c.sendAll(); err != nil {
		return nil, nil, err
	}
	conn, err := c.netConn()
	if err != nil {
		return nil, nil, err
	}
	if !c.held.CompareAndSwap(0, heldEnded) { // from here on a Ref takes nothing
		_ = conn.Close()
		return nil, nil, c.unsent()
	}
	if c.flags&fCloseWrite != 0 {
		c.shutWrite()
	}
	rest := bytes.Clone(c.undelivered())
	c.fail(ErrHijacked)
	return conn, rest, nil
}

// sendAll sends what was written, or says why not.
func (c *Conn) sendAll() error {
	if c.loop.cur == c {
		c.flushGather()
	}
	if c.output != nil {
		c.flushQueue()
	}
	switch {
	case c.flags&fFailed != 0:
		return c.cause()
	case c.held.Load() != 0:
		return c.unsent()
	}
	return nil
}

func (c *Conn) unsent() error { return fmt.Errorf("%w: %d bytes", ErrUnsent, c.held.Load()) }

// netConn makes the connection one of package net, with a descriptor of its own: package net takes no other, and the
// reactor's own is closed after the handler's Close. The socket lives on, for closing one descriptor of several says
// nothing to the peer.
func (c *Conn) netConn() (net.Conn, error) {
	fd, err := socket.Dup(int(c.fd))
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), c.origin.String())
	defer f.Close()
	return net.FileConn(f)
}

// undelivered returns what was received and not consumed, also while it is being delivered.
func (c *Conn) undelivered() []byte {
	l := c.loop
	switch {
	case c.flags&fCloseRead != 0:
		return nil
	case l.cur == c && l.delivering != nil:
		return l.delivering[l.delivered:]
	}
	return c.unconsumed()
}
