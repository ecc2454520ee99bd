// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/panjf2000/gnet/v2/pkg/socket"
	"golang.org/x/sys/unix"
)

// Adopt takes over a connection of package net, a *net.TCPConn or a *net.UnixConn of network unix, and puts it on the
// loop with the fewest connections. It works on a duplicate of the descriptor: if Adopt returns nil, conn is closed
// and not to be used any more, and connected will be called exactly once, with an error (net.ErrClosed) only if the
// loop ended first. If Adopt returns an error, conn is still the caller's. The options apply to the connection, those of
// the socket included, and a linger time is set back; nil options are the defaults, and what is for listeners there is
// not looked at. What counts and what finds the connection is as for Dial.
func (r *Reactor) Adopt(conn net.Conn, connected ConnectFunc, o *StreamOptions) error {
	if connected == nil {
		return errors.New("reactor: Adopt without a connect func")
	}
	sc, err := streamOf(conn)
	if err != nil {
		return fmt.Errorf("reactor: Adopt: %w", err)
	}
	network := conn.LocalAddr().Network()
	opts, err := o.resolveFor(network)
	if err != nil {
		return err
	}
	fd, err := duplicate(sc)
	if err != nil {
		return fmt.Errorf("reactor: Adopt: %w", err)
	}
	from := &origin{
		network: network, addr: conn.RemoteAddr(), opts: opts, dialled: true,
		accept: func(c *Conn) (Handler, error) { return connected(c, nil) },
	}
	tuple, err := from.prepare(fd)
	if err == nil {
		err = r.handAdopted(func(l *loop) {
			if l.aborting || l.stopped {
				_ = unix.Close(fd)
				l.load.Add(-1)
				l.guard("connect func", func() { _, _ = connected(nil, net.ErrClosed) })
				return
			}
			l.adopt(from, fd, tuple, unregistered)
		})
	}
	if err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("reactor: Adopt: %w", err)
	}
	_ = conn.Close()
	return nil
}

// handAdopted runs fn on the loop with the fewest connections.
func (r *Reactor) handAdopted(fn func(*loop)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return net.ErrClosed
	}
	l := r.loops[0].leastLoaded()
	l.load.Add(1)
	err := l.postLoop(func() { fn(l) })
	if err != nil {
		l.load.Add(-1)
	}
	return err
}

// adopt makes a connection of a connected socket. The loop's load counts it already.
func (l *loop) adopt(from *origin, fd int, tuple FourTuple, watched interest) {
	if tuple != (FourTuple{}) {
		from.addr = net.TCPAddrFromAddrPort(tuple.Remote)
	}
	c := l.newConn(from, fd, tuple)
	if c.interest = watched; edgeTriggered {
		c.flags |= fReadable // what came before is not reported again
	}
	l.serve(c, (*Conn).open)
}

// streamOf returns conn as what has a descriptor, if it is a stream.
func streamOf(conn net.Conn) (syscall.Conn, error) {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		if a := conn.LocalAddr(); a != nil && (a.Network() == "tcp" || a.Network() == "unix") {
			return conn.(syscall.Conn), nil
		}
	}
	return nil, fmt.Errorf("%T is no TCP or unix stream", conn)
}

// duplicate returns a descriptor of our own of what sc has open.
func duplicate(sc syscall.Conn) (fd int, err error) {
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	if failed := raw.Control(func(own uintptr) { fd, err = socket.Dup(int(own)) }); failed != nil {
		return -1, failed
	}
	return fd, err
}

// prepare gives an adopted socket the options of the origin and returns its addresses.
func (o *origin) prepare(fd int) (t FourTuple, err error) {
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{}); err != nil {
		return t, os.NewSyscallError("setsockopt", err)
	}
	for _, option := range o.opts.connOptions(o.network) {
		if err := option.SetSockOpt(fd, option.Opt); err != nil {
			return t, err
		}
	}
	return o.tupleOf(fd)
}

// tupleOf returns the two addresses of a connected socket, the zero value for a unix one, or that it is not connected.
func (o *origin) tupleOf(fd int) (FourTuple, error) {
	if o.network == "unix" {
		_, err := unix.Getpeername(fd)
		return FourTuple{}, os.NewSyscallError("getpeername", err)
	}
	return tupleOf(fd)
}
