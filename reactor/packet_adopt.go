// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"fmt"
	"net"
	"syscall"

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
// What a raw socket of IPv4 receives begins with the IP header, and the ports of its addresses are 0. Of what is no UDP,
// the kernel says what is too long to be sent. A connected socket stays connected. RecvBuffer, SendBuffer and Broadcast are set on the socket; nil options are the defaults.
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
	switch conn.(type) {
	case *net.UDPConn, *net.IPConn:
	default:
		return nil, fmt.Errorf("reactor: AdoptPacket: %T is neither *net.UDPConn nor *net.IPConn", conn)
	}
	if conn.LocalAddr() == nil {
		return nil, fmt.Errorf("reactor: AdoptPacket: %T has no socket", conn)
	}
	lis := newPacketListener(r, conn.LocalAddr().Network(), conn.LocalAddr())
	fd, err := duplicate(conn.(syscall.Conn))
	if err == nil {
		if err = lis.adopt(fd, begin, opts); err != nil {
			_ = unix.Close(fd)
		} else if err = lis.start(); err == nil {
			_ = conn.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reactor: AdoptPacket: %w", err)
	}
	return lis, nil
}

// adopt makes fd the listener's socket, with the options.
func (lis *Listener) adopt(fd int, begin BeginFunc, opts PacketOptions) error {
	for _, option := range opts.socketOptions() {
		if err := option.SetSockOpt(fd, option.Opt); err != nil {
			return err
		}
	}
	s, err := lis.newPacketConn(fd, opts)
	if err != nil {
		return err
	}
	s.loop, lis.local = lis.reactor.loops[0].leastLoaded(), s.local
	lis.sockets, lis.loops = []source{&adoptedPacket{PacketConn: s, begin: begin}}, []*loop{s.loop}
	return nil
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
			a.loop.r.listening.remove(a.listener)
			a.closeFD()
		}
	}()
	a.loop.guard("begin func", func() {
		if h, err := a.begin(a.PacketConn); err == nil {
			a.handle(h)
		}
	})
	if a.handler != nil {
		a.PacketConn.open()
	}
}
