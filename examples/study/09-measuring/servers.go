// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"io"
	"net"
	"time"

	"github.com/quartet-go/quartet/examples/study/internal/study"
	"github.com/quartet-go/quartet/reactor"
)

var servers = map[string]func() *study.Server{
	study.ALoop:      loop,
	study.Goroutines: goroutines,
	study.TheReactor: react,
}

func loop() *study.Server {
	return study.Loop(func(c int) {
		for s := study.Recv(c, 4096); s != ""; s = study.Recv(c, 4096) {
			study.Check(study.SendAll(c, []byte(s)))
		}
	})
}

func goroutines() *study.Server {
	return study.Go(func(c *net.TCPConn) {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err == io.EOF {
				return
			}
			study.Check(err)
			study.Must(c.Write(buf[:n]))
		}
	})
}

func react() *study.Server {
	echo := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		_, err := c.Write(in)
		return len(in), err
	})
	return study.React(func(*reactor.Conn) (reactor.Handler, error) { return echo, nil }, nil)
}

// stalling stands still at the twentieth question.
func stalling() *study.Server {
	questions := 0
	echo := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) {
		if questions++; questions == 20 {
			time.Sleep(stall) // what no handler may do
		}
		_, err := c.Write(in)
		return len(in), err
	})
	return study.React(func(*reactor.Conn) (reactor.Handler, error) { return echo, nil }, nil)
}
