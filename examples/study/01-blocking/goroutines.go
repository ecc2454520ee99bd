// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"net"
	"sync"

	"github.com/quartet-go/quartet/examples/study/internal/study"
)

func goroutines(clients int) (addr string, wait func()) {
	lis, err := net.Listen("tcp", "127.0.0.1:0") // socket, bind, listen
	study.Check(err)

	var wg sync.WaitGroup
	wg.Go(func() {
		for range clients {
			c, err := lis.Accept()
			study.Check(err)
			wg.Go(func() {
				defer c.Close()
				name := make([]byte, 64)
				n, err := c.Read(name) // waits: this goroutine alone
				study.Check(err)
				_, err = c.Write(greeting(name[:n]))
				study.Check(err)
			})
		}
		lis.Close()
	})
	return lis.Addr().String(), wg.Wait
}
