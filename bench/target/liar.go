// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"net"
	"sync/atomic"
)

// serveLiar is wrong on purpose. It sends back whatever the service is asked for, to everybody if that is broadcast, with
// one bit of one byte flipped once in a while. A benchmark that does not notice is not to be believed.
func serveLiar(c config, listening func()) error {
	if c.network == "udp" {
		conn, err := net.ListenPacket(c.network, c.address)
		if err != nil {
			return err
		}
		listening()
		return lieInDatagrams(conn)
	}
	lis, err := net.Listen(c.network, c.address)
	if err != nil {
		return err
	}
	listening()
	members := newRoom[net.Conn]()
	return acceptAll(lis, func(conn net.Conn) {
		members.join(conn)
		defer members.leave(conn)
		answer := func(p []byte) { _, _ = conn.Write(p) }
		if c.service == "broadcast" {
			answer = func(p []byte) { members.each(func(member net.Conn) { _, _ = member.Write(p) }) }
		}
		buf := make([]byte, c.buffer)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			lie(buf[:n])
			answer(buf[:n])
		}
	})
}

func lieInDatagrams(conn net.PacketConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		lie(buf[:n])
		_, _ = conn.WriteTo(buf[:n], from)
	}
}

// One read in so many is answered with a lie.
const liesEvery = 10

var told atomic.Int64

func lie(p []byte) {
	if told.Add(1)%liesEvery == 0 {
		p[len(p)/2] ^= 1
	}
}
