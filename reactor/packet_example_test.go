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
	"net/netip"
	"strconv"
	"time"

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
		_, err = s.Write([]byte("how do you do?"))
		return answers, err
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Serve(ctx))
	// Output:
	// HOW DO YOU DO?
	// <nil>
}

// A service that remembers what each sender said before, for as long as that goes on.
func ExampleSessions() {
	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	begin := func(*reactor.Session) (reactor.SessionHandler, error) { return &sum{}, nil }
	lis, err := r.ListenPacket("udp", "127.0.0.1:0", reactor.Sessions(begin, &reactor.SessionOptions{IdleTimeout: time.Minute}), nil)
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
	answer := make([]byte, 64)
	for _, n := range []string{"3", "4"} {
		fmt.Fprint(client, n)
		n, err := client.Read(answer)
		fmt.Println(string(answer[:n]), err)
	}
	stop()
	fmt.Println(<-served)
	// Output:
	// 3 so far <nil>
	// 7 so far <nil>
	// the session closes: reactor: shut down
	// <nil>
}

// sum is a session's handler: its state is one number.
type sum struct{ n int }

func (h *sum) Datagram(s *reactor.Session, d *reactor.Datagram) {
	n, _ := strconv.Atoi(string(d.Payload))
	h.n += n
	fmt.Fprintf(s, "%d so far", h.n)
}

func (h *sum) Close(_ *reactor.Session, err error) { fmt.Println("the session closes:", err) }

// A service that hears what is sent to a multicast group, besides what is sent to it alone.
func ExampleListener_Join() {
	r, err := reactor.New(reactor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	lis, err := r.ListenPacket("udp4", ":0", reactor.PacketFunc(func(_ *reactor.PacketConn, d *reactor.Datagram) {
		fmt.Println(d.From, "asked", d.To) // the group, or an address of this machine
	}), nil)
	if err != nil {
		log.Fatal(err)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		log.Fatal(err)
	}
	group := netip.MustParseAddr("239.255.77.9")
	fmt.Println(lis.Join(group, interfaces[0].Index))
	fmt.Println(lis.Leave(group, interfaces[0].Index))
	// Output:
	// <nil>
	// <nil>
}
