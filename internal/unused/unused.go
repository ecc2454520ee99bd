// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package unused finds addresses for programs that must be told where to listen, in tests.
package unused

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
)

// Address returns an address of 127.0.0.1 that nobody has on a network of package net, tcp or udp. Its port is none of
// those that a system gives to who asks for any, or else one of them could be given to another test before the program
// begins to listen.
func Address(network string) string {
	for try := 0; ; try++ {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)) // Linux gives from 32768, see ip(7)
		var held io.Closer
		var err error
		if strings.HasPrefix(network, "udp") {
			held, err = net.ListenPacket(network, address)
		} else {
			held, err = net.Listen(network, address)
		}
		if err == nil {
			_ = held.Close()
			return address
		}
		if try == 100 {
			panic(err)
		}
	}
}
