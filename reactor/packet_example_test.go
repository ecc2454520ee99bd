// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"

	"github.com/quartet-go/quartet/reactor"
)

// A service that answers each datagram with its length.
func ExampleReactor_ListenPacket() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	length := reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		_ = d.Reply(fmt.Appendf(nil, "The msg was %d bytes long", len(d.Payload)))
	})
	lis, err := r.ListenPacket("udp", "127.0.0.1:0", length, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- r.Serve(ctx) }()

	client, err := net.Dial("udp", lis.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Fprint(client, "How long is this?")
	answer := make([]byte, 64)
	n, err := client.Read(answer)
	fmt.Println(string(answer[:n]), err)
	stop()
	fmt.Println(<-served)
	// Output:
	// The msg was 17 bytes long <nil>
	// <nil>
}

// A client that asks with one datagram and is answered with another.
func ExampleReactor_DialPacket() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	lis, err := r.ListenPacket("udp", "127.0.0.1:0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		_ = d.Reply(bytes.ToUpper(d.Payload))
	}), nil)
	if err != nil {
		log.Fatal(err)
	}

	answers := reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		fmt.Printf("%s\n", d.Payload)
		stop()
	})
	err = r.DialPacket("udp", lis.Addr().String(), func(s *reactor.PacketConn, err error) (reactor.PacketHandler, error) {
		if err != nil {
			fmt.Println(err)
			return nil, err
		}
		return answers, s.Write([]byte("how do you do?"))
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Serve(ctx))
	// Output:
	// HOW DO YOU DO?
	// <nil>
}
