// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/quartet-go/quartet/reactor"
)

// A socket made elsewhere, by package net or handed over by another process, goes on on a loop. The begin func may send
// before anything has come.
func ExampleReactor_AdoptPacket() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	peer, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer peer.Close()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	_, err = r.AdoptPacket(conn, func(s *reactor.PacketConn) (reactor.PacketHandler, error) {
		to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
		return reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
			d.Reply(append([]byte("back: "), d.Payload...))
		}), s.Send([]byte("anybody there?"), netip.AddrPort{}, to)
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	go r.Serve(context.Background())

	buf := make([]byte, 100)
	n, from, _ := peer.ReadFrom(buf)
	fmt.Printf("%s\n", buf[:n])
	peer.WriteTo([]byte("yes"), from)
	n, _, _ = peer.ReadFrom(buf)
	fmt.Printf("%s\n", buf[:n])
	// Output:
	// anybody there?
	// back: yes
}
