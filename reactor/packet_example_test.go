// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
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
