// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package exchange_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"time"

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
