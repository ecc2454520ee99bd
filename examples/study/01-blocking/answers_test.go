// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

// Exercise 1: the kernel does it. connect returns when the handshake is done, and what is sent waits in the receive
// buffer of a connection that waits in the backlog. The program that listens has done nothing yet.
func Example_backlog() {
	lis, addr := study.Listen()
	defer unix.Close(lis)

	ben := study.Dial(addr)
	defer ben.Close()
	n, err := fmt.Fprint(ben, "ben")
	fmt.Println("connected and sent", n, "bytes:", err)

	c, _, err := unix.Accept(lis)
	study.Check(err)
	defer unix.Close(c)
	fmt.Println("accepted later, received", study.Recv(c, 64))
	// Output:
	// connected and sent 3 bytes: <nil>
	// accepted later, received ben
}

// Exercise 2: with settimeout the loop gives Anna up, and Ben is served. Anna's silence costs all others the time-out:
// it bounds the harm and does not end it.
func Example_settimeout() {
	asked := make(chan struct{})
	server := study.Loop(func(c int) {
		<-asked // however busy the machine is, Ben's question is there in time
		study.Timeout(c, 100*time.Millisecond)
		name := make([]byte, 64)
		n, err := study.TryRecv(c, name)
		if errors.Is(err, unix.EAGAIN) {
			fmt.Println("the server:", err)
			return
		}
		study.Check(err)
		study.Check(study.SendAll(c, greeting(name[:n])))
	})
	defer server.Stop()

	anna := study.Dial(server.Addr)
	defer anna.Close()
	ben := study.Dial(server.Addr)
	defer ben.Close()
	fmt.Fprint(ben, "ben")
	close(asked)
	fmt.Println("Ben:", study.Answer(ben))
	// Output:
	// the server: resource temporarily unavailable
	// Ben: HELLO, BEN
}

// Exercise 3: a recv of 0 bytes is the peer's end. Without the question the loop would greet nobody.
func Example_end() {
	server := study.Loop(func(c int) {
		if name := study.Recv(c, 64); name == "" {
			fmt.Println("the server: a client has left without a word")
		} else {
			study.Check(study.SendAll(c, greeting([]byte(name))))
		}
	})
	defer server.Stop()

	study.Dial(server.Addr).Close()
	ben := study.Dial(server.Addr)
	defer ben.Close()
	fmt.Fprint(ben, "ben")
	fmt.Println("Ben:", study.Answer(ben))
	// Output:
	// the server: a client has left without a word
	// Ben: HELLO, BEN
}
