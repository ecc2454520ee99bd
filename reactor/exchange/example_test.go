// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package exchange_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/exchange"
)

// A server that is slow to hear, and a client that is patient. Requests begin with their number.
func ExampleClient_Do() {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 64)
		_, _, _ = server.ReadFrom(buf) // the first try is lost
		n, from, _ := server.ReadFrom(buf)
		_, _ = server.WriteTo(append(buf[:n], " answered"...), from)
	}()

	ctx := context.Background()
	c, err := exchange.Dial(ctx, "udp", server.LocalAddr().String(), &exchange.Options{
		Match: func(request, reply []byte) bool { return bytes.HasPrefix(reply, request[:2]) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	reply, err := c.Do(ctx, []byte("17 hello"))
	fmt.Println(string(reply), err)
	// Output: 17 hello answered <nil>
}

// Two requests in flight on one socket of a reactor, answered in the opposite order.
func ExampleAsync_Do() {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go func() {
		first, second := make([]byte, 64), make([]byte, 64)
		n, from, _ := server.ReadFrom(first)
		m, _, _ := server.ReadFrom(second)
		_, _ = server.WriteTo(append(second[:m], " answered"...), from)
		_, _ = server.WriteTo(append(first[:n], " answered"...), from)
	}()

	r, err := reactor.New(reactor.Options{Loops: 1})
	if err != nil {
		log.Fatal(err)
	}
	a, err := exchange.New(r, "udp", server.LocalAddr().String(), &exchange.AsyncOptions{
		Key: func(datagram []byte) []byte { return datagram[:min(2, len(datagram))] },
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	for _, request := range []string{"17 hello", "18 how do you do"} {
		err := a.Do(ctx, []byte(request), func(reply []byte, err error) { // on the loop
			fmt.Println(string(reply), err)
			if a.InFlight() == 0 {
				stop()
			}
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(r.Serve(ctx))
	// Output:
	// 18 how do you do answered <nil>
	// 17 hello answered <nil>
	// <nil>
}

// Clients that lost their server at the same moment come back at different ones.
func ExampleBackoff_Wait() {
	b := exchange.Backoff{First: 100 * time.Millisecond, Limit: 400 * time.Millisecond, Jitter: 0.5}
	for try := 0; ; try++ {
		longest, ok := b.Wait(try, 0)
		if !ok {
			break
		}
		shortest, _ := b.Wait(try, 1)
		fmt.Printf("try %d waits %v to %v\n", try+1, shortest, longest)
	}
	// Output:
	// try 1 waits 50ms to 100ms
	// try 2 waits 100ms to 200ms
	// try 3 waits 200ms to 400ms
}
