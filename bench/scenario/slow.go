// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/quartet-go/quartet/bench/load"
)

// What the slow scenario is: some clients send all the time and never read, the others go on as in echo.
const (
	flooders      = 8
	floodChunk    = 64 << 10
	floodTime     = 2 * time.Second // at least: a queue without a bound needs time to show
	floodMemory   = 64 << 20        // by how much the server may grow
	floodPatience = time.Second     // how long another client may wait for an answer
)

var slow = &Scenario{
	Name: "slow",
	Sentence: fmt.Sprintf("%d clients send without ever reading while others exchange messages; survived if these are answered within %v "+
		"and the server grows by at most %d MiB", flooders, floodPatience, floodMemory>>20),
	Survival: true,
	Closed:   true,
	Single:   true,
	Most:     64 << 10,
	cases:    []Case{{Conns: 20, Size: 64, Depth: 1}},
	run:      runSlow,
}

func runSlow(ctx context.Context, t *test) error {
	at, tape, err := t.startEcho(ctx, "tcp")
	if err != nil {
		return err
	}
	s, err := load.DialStreams(load.StreamConfig{Endpoint: at, Conns: t.Conns, Depth: 1, Tape: tape, Threads: 1})
	if err != nil {
		return err
	}
	defer s.Close()
	stop, err := flood(at)
	if err != nil {
		return err
	}
	defer stop()

	m := t.meter()
	t.Duration = max(t.Duration, floodTime)
	w := m.window(ctx)
	w.Count = 0 // the others' calls are not these messages'
	result := s.Run(w)
	t.attempt.Round = m.round(result)
	t.attempt.Round.Syscalls, t.attempt.Round.CPU, t.attempt.Round.UserCPU, t.attempt.Round.SystemCPU, t.attempt.Round.Switches = nil, nil, nil, nil, nil
	t.attempt.Round.RSSPerConn = nil
	switch rss := t.attempt.Round.RSS; {
	case rss != nil && t.rss != nil && *rss-*t.rss > floodMemory:
		t.attempt.Reason = fmt.Sprintf("memory grew by %d MiB in %.1f s", (*rss-*t.rss)>>20, result.Seconds)
	case result.Errors+result.Mismatches > 0:
	case result.Latency.Max() > int64(floodPatience):
		t.attempt.Reason = fmt.Sprintf("another client waited %v for an answer", time.Duration(result.Latency.Max()).Round(time.Millisecond))
	case result.Messages == 0:
		t.attempt.Reason = "no other client was answered"
	}
	return nil
}

// flood sends from clients that do not read, until the function it returns is called.
func flood(at load.Endpoint) (stop func(), err error) {
	var all sync.WaitGroup
	var conns []net.Conn
	stop = func() {
		for _, c := range conns {
			c.Close()
		}
		all.Wait()
	}
	chunk := make([]byte, floodChunk)
	for range flooders {
		c, err := net.DialTimeout(at.Network, at.Address, time.Second)
		if err != nil {
			stop()
			return nil, err
		}
		conns = append(conns, c)
		all.Go(func() {
			for {
				if _, err := c.Write(chunk); err != nil {
					return
				}
			}
		})
	}
	return stop, nil
}
