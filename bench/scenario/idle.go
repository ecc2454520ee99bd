// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"
	"time"

	"github.com/quartet-go/quartet/bench/load"
	"github.com/quartet-go/quartet/bench/record"
)

var idle = &Scenario{
	Name:     "idle",
	Sentence: "memory for each connection that has exchanged one message and is silent, and the CPU time of the silence",
	Closed:   true,
	Single:   true,
	cases:    []Case{{Conns: 10000, Size: 64, Depth: 1}},
	run: func(ctx context.Context, t *test) error {
		at, tape, err := t.startEcho(ctx, "tcp")
		if err != nil {
			return err
		}
		s, err := load.DialStreams(load.StreamConfig{Endpoint: at, Conns: t.Conns, Depth: 1, Tape: tape, Threads: t.Threads})
		if err != nil {
			return err
		}
		defer s.Close()
		first := s.Exchange()
		if err := pause(ctx, t.Warmup); err != nil {
			return err
		}
		m := t.meter()
		m.begin = t.running.Usage()
		start := time.Now()
		if err := pause(ctx, t.Duration); err != nil {
			return err
		}
		m.end = t.running.Usage()
		silence := time.Since(start).Seconds()
		again := s.Exchange() // they are alive

		// Nothing is divided by messages: there were none in the time that was measured.
		quiet := record.Round{Seconds: silence}
		m.usage(&quiet)
		quiet.Messages = first.Messages + again.Messages
		quiet.Errors, quiet.Mismatches = first.Errors+again.Errors, first.Mismatches+again.Mismatches
		quiet.Failures = append(first.Failures, again.Failures...)
		t.attempt.Round = quiet
		return nil
	},
}

// pause does nothing for a while, or until the context is done.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
