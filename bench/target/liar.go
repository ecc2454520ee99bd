// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"net"
	"slices"
)

// serveLiar is wrong on purpose. It echoes whatever the service is asked for, with one bit of one byte flipped once in a
// while. A benchmark that does not notice is not to be believed.
func serveLiar(c config, listening func()) error {
	if c.network == "udp" || !slices.Contains([]string{"echo", "frames", "fixed"}, c.service) {
		return errUnsupported
	}
	lis, err := net.Listen(c.network, c.address)
	if err != nil {
		return err
	}
	listening()
	const every = 100
	for {
		conn, err := lis.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			buf := make([]byte, c.buffer)
			for lie := 0; ; lie++ {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				if lie%every == every-1 {
					buf[n/2] ^= 1
				}
				if _, err := conn.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}
