// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

// Exercise 1: after the reply shut down the writing half, and read and discard until the client has ended; with a
// limit on the time, and on the bytes, for those who never end.
func Example_linger() {
	server := study.Go(func(c *net.TCPConn) {
		_, err := io.ReadFull(c, make([]byte, 10))
		study.Check(err)
		_, err = c.Write(make([]byte, reply))
		study.Check(err)

		study.Check(c.CloseWrite())
		study.Check(c.SetReadDeadline(time.Now().Add(10 * time.Second)))
		_, _ = io.CopyN(io.Discard, c, 64<<10)
	})
	defer server.Stop()
	fmt.Println(refuse(server.Addr, false))
	// Output: 32768 bytes and the end
}

// Exercise 2: the client's half is still open, and so a peer can send to somebody who has said that it will send
// nothing any more.
func Example_halves() {
	a, b := study.Pair()
	defer unix.Close(a)
	defer unix.Close(b)
	study.Check(unix.Shutdown(a, unix.SHUT_WR))
	fmt.Printf("b receives %q\n", study.Recv(b, 64))
	study.Check(study.SendAll(b, []byte("and yet")))
	fmt.Printf("a receives %q\n", study.Recv(a, 64))
	fmt.Println("a sends:", study.SendAll(a, []byte("no")))
	// Output:
	// b receives ""
	// a receives "and yet"
	// a sends: broken pipe
}

// Exercise 3: SO_LINGER with a time of 0 makes of close a reset.
func Example_abort() {
	a, b := study.Pair()
	defer unix.Close(b)
	study.Check(unix.SetsockoptLinger(a, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	unix.Close(a)
	_, _, err := unix.Recvfrom(b, make([]byte, 64), 0)
	fmt.Println(err, errors.Is(err, unix.ECONNRESET))
	// Output: connection reset by peer true
}
