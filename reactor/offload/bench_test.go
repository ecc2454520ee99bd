// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package offload_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/offload"
)

// BenchmarkRequest is one request and reply over 16 connections at once and one loop, the work done on the loop and off
// it: for work that takes no time, what going elsewhere costs, and for work that blocks, what it is worth.
func BenchmarkRequest(b *testing.B) {
	for _, takes := range []time.Duration{0, 100 * time.Microsecond} {
		do := func() {
			if takes > 0 {
				time.Sleep(takes)
			}
		}
		run := func(where string, handler func(s *server) reactor.Handler) {
			b.Run(fmt.Sprintf("work=%v/%s", takes, where), func(b *testing.B) {
				s := transport{"tcp", 1}.start(b, offload.Options{})
				benchmarkRequests(b, s, handler(s))
			})
		}
		run("on the loop", func(*server) reactor.Handler {
			return reactor.Frames(lines, reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
				do()
				return c.Send(lines, line)
			}))
		})
		run("Frames", func(s *server) reactor.Handler {
			return offload.Frames(s.pool, lines, lines, offload.FrameFunc(
				func(_ context.Context, _ reactor.Ref, line []byte) ([]byte, error) {
					do()
					return line, nil
				}))
		})
		run("Do", func(s *server) reactor.Handler {
			return reactor.Frames(lines, reactor.FrameFunc(func(c *reactor.Conn, line []byte) error {
				own := string(line)
				return offload.Do(s.pool, c, func(context.Context) (struct{}, error) {
					do()
					return struct{}{}, nil
				}, func(c *reactor.Conn, _ struct{}, _ error) { _ = c.Send(lines, []byte(own)) })
			}))
		})
	}
}

func benchmarkRequests(b *testing.B, s *server, h reactor.Handler) {
	const conns = 16
	a := s.listen(h)
	clients := make([]*client, conns)
	for i := range clients {
		clients[i] = dial(b, a)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, cl := range clients {
		requests := (b.N + conns - 1 - i) / conns
		wg.Go(func() {
			request := []byte("a request of some forty bytes, as it is\n")
			for range requests {
				if _, err := cl.Write(request); err != nil {
					b.Error(err)
					return
				}
				if _, err := cl.in.ReadSlice('\n'); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
