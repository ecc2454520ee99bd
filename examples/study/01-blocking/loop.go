// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"bytes"

	"golang.org/x/sys/unix"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

func loop(clients int) (addr string, wait func()) {
	lis, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	study.Check(err)
	study.Check(unix.Bind(lis, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})) // port 0: a free one
	study.Check(unix.Listen(lis, 16))

	done := make(chan struct{})
	go func() {
		defer close(done)
		for range clients {
			c, _, err := unix.Accept(lis) // waits for a client
			study.Check(err)
			name := make([]byte, 64)
			n, _, err := unix.Recvfrom(c, name, 0) // waits for this client, and for no other
			study.Check(err)
			study.Check(study.SendAll(c, greeting(name[:n])))
			unix.Close(c)
		}
		unix.Close(lis)
	}()
	return study.Address(lis), func() { <-done }
}

func greeting(name []byte) []byte { return append([]byte("HELLO, "), bytes.ToUpper(name)...) }
