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

// A BeginFunc makes the handler of an adopted socket, on its loop, before anything is received. It may send already,
// and start timers. An error closes the socket, silently; so does a panic, which is logged.
type BeginFunc func(s *PacketConn) (PacketHandler, error)

// AdoptPacket takes over a datagram socket of package net, a *net.UDPConn or *net.IPConn, that ListenPacket cannot
// make: a raw socket (raw(7)), or a ping socket (icmp(7)). It works on a duplicate of the descriptor: if AdoptPacket
// returns nil, conn is closed and not to be used any more, and begin will be called once, unless Shutdown comes first;
// if it returns an error, conn is left as it was.
//
// What a raw socket of IPv4 receives begins with the IP header, and the ports of its addresses are 0. A connected
// socket stays connected. RecvBuffer, SendBuffer and Broadcast are set on the socket; nil options are the defaults.
// The Listener has one socket, of which it is the address and the way to close it.
func (r *Reactor) AdoptPacket(conn net.PacketConn, begin BeginFunc, o *PacketOptions) (*Listener, error) {
	if begin == nil {
		return nil, errors.New("reactor: AdoptPacket without a begin func")
	}
	opts, err := o.resolve()
	if err == nil && opts.Local.IsValid() {
		err = fmt.Errorf("reactor: Local is %v, must be the zero value for AdoptPacket", opts.Local)
	}
	if err != nil {
		return nil, err
	}
	fd, err := duplicatePacket(conn)
	if err != nil {
		return nil, fmt.Errorf("reactor: AdoptPacket: %w", err)
	}
	lis := newPacketListener(r, conn.LocalAddr().Network(), conn.LocalAddr())
	s := &PacketConn{loop: r.loops[0].leastLoaded(), listener: lis, opts: opts, fd: fd}
	lis.sockets, lis.loops = []source{&adoptedPacket{PacketConn: s, begin: begin}}, []*loop{s.loop}
	if err = s.adopt(); err != nil {
		_ = unix.Close(fd)
	} else if err = lis.start(); err == nil {
		_ = conn.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("reactor: AdoptPacket: %w", err)
	}
	return lis, nil
}

// duplicatePacket returns a descriptor of our own of conn's socket.
func duplicatePacket(conn net.PacketConn) (fd int, err error) {
	switch conn.(type) {
	case *net.UDPConn, *net.IPConn:
	default:
		return -1, fmt.Errorf("%T is neither *net.UDPConn nor *net.IPConn", conn)
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return -1, err
	}
	if failed := raw.Control(func(own uintptr) { fd, err = socket.Dup(int(own)) }); failed != nil {
		return -1, failed
	}
	return fd, err
}

// adopt looks at what the socket is and gives it the options.
func (s *PacketConn) adopt() error {
	sa, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	s.local = addrPortOf(sa)
	s.listener.local = s.local
	all := s.local.Addr().IsUnspecified()
	if _, v6 := sa.(*unix.SockaddrInet6); v6 {
		s.family = familyIPv6
		if only, err := unix.GetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err != nil {
			return os.NewSyscallError("getsockopt", err)
		} else if only == 0 && all {
			s.family = familyBoth
		}
	}
	if s.opts.RecvBuffer > 0 {
		err = socket.SetRecvBuffer(s.fd, s.opts.RecvBuffer)
	}
	if err == nil && s.opts.SendBuffer > 0 {
		err = socket.SetSendBuffer(s.fd, s.opts.SendBuffer)
	}
	if err == nil && s.opts.Broadcast {
		err = setBroadcast(s.fd, 1)
	}
	if err == nil {
		err = wantControl(s.fd, s.family, all)
	}
	return err
}

// An adoptedPacket is a PacketConn whose handler is made when it is opened.
type adoptedPacket struct {
	*PacketConn
	begin BeginFunc
}

func (a *adoptedPacket) open() {
	if a.fd < 0 || a.loop.draining {
		a.closeFD()
		return
	}
	a.loop.packetRoom(a.opts.MaxDatagram)
	defer func() {
		if a.handler == nil { // refused, or begin did not return
			a.closeFD()
		}
	}()
	a.loop.guard("begin func", func() {
		if h, err := a.begin(a.PacketConn); err == nil && h != nil {
			a.handle(h)
		}
	})
	if a.handler != nil {
		a.PacketConn.open()
	}
}
