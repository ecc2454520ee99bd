// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quartet-go/quartet/bench/load"
	"github.com/quartet-go/quartet/bench/process"
	"github.com/quartet-go/quartet/bench/record"
)

// An Attempt is what one round of one server came to.
type Attempt struct {
	Round       record.Round
	Survived    *bool  // of a survival scenario
	Reason      string // why not
	Unsupported string // the server cannot be put to this, and why
}

// A test is one attempt while it runs.
type test struct {
	Options // with Case filled in
	server  process.Server
	built   *process.Programs

	running *process.Process
	leave   func() bool // ends the server's dependence on the context
	rss     *int64      // of the server before the first connection
	attempt Attempt
}

// Try runs one round of a case against a server, in a new process. Only a context that is done is an error; what goes
// wrong with the server is in the attempt.
func (s *Scenario) Try(ctx context.Context, built *process.Programs, server process.Server, c Case, o Options) (Attempt, error) {
	o.Case = c
	t := &test{Options: o, server: server, built: built}
	err := s.run(ctx, t)
	if t.running != nil {
		if how, ended := t.running.Ended(); ended {
			t.attempt.Round.Errors = max(t.attempt.Round.Errors, 1)
			t.broken("the server ended by itself: " + how)
		}
		t.leave()
		t.running.Stop()
	}
	if ctx.Err() != nil {
		return Attempt{}, ctx.Err()
	}
	var unsupported *process.UnsupportedError
	if errors.As(err, &unsupported) {
		return Attempt{Unsupported: unsupported.Reason}, nil
	}
	if err != nil {
		t.attempt.Round.Errors = max(t.attempt.Round.Errors, 1)
		t.broken(err.Error())
	}
	if s.Survival {
		survived := t.attempt.Reason == "" && t.attempt.Round.Errors+t.attempt.Round.Mismatches == 0
		t.attempt.Survived = &survived
		if !survived && t.attempt.Reason == "" {
			t.attempt.Reason = "answers wrong or missing"
			if f := t.attempt.Round.Failures; len(f) > 0 {
				t.attempt.Reason = f[0]
			}
		}
	}
	return t.attempt, nil
}

// broken notes a failure; the first is the reason for not surviving.
func (t *test) broken(why string) {
	t.attempt.Round.Failures = append(t.attempt.Round.Failures, why)
	if t.attempt.Reason == "" {
		t.attempt.Reason = why
	}
}

// settleTime is what a server gets between listening and the first measurement of its memory.
const settleTime = 20 * time.Millisecond

// start starts the server and returns where it listens.
func (t *test) start(ctx context.Context, service, network string) (load.Endpoint, error) {
	p, err := t.built.Start(ctx, t.spec(service, network))
	if err != nil {
		return load.Endpoint{}, err
	}
	t.running = p
	t.leave = context.AfterFunc(ctx, p.Stop) // who waits for its answers is told by the end of the connection
	time.Sleep(settleTime)
	t.rss = p.RSS()
	return load.Endpoint{Network: network, Address: p.Address}, nil
}

// startEcho starts the echo service and returns where it listens, and the messages for it.
func (t *test) startEcho(ctx context.Context, network string) (load.Endpoint, *load.Tape, error) {
	tape, err := t.tape(false)
	if err != nil {
		return load.Endpoint{}, nil, err
	}
	at, err := t.start(ctx, "echo", network)
	return at, tape, err
}

// tape makes the messages of a case.
func (t *test) tape(framed bool) (*load.Tape, error) {
	ahead := max(t.Size, min(t.Size*t.Depth, maxAhead))
	return load.NewTape(t.Size, ahead, framed, uint64(t.Seed))
}

// maxAhead bounds how much the load gives to a socket at a time.
const maxAhead = 1 << 20

// streams is the common round: connections that get back what they send. active is how many of them exchange messages,
// 0 for all; the others have exchanged one.
func (t *test) streams(ctx context.Context, service, network string, framed bool, active int) error {
	tape, err := t.tape(framed)
	if err != nil {
		return err
	}
	at, err := t.start(ctx, service, network)
	if err != nil {
		return err
	}
	s, err := load.DialStreams(load.StreamConfig{
		Endpoint: at, Conns: t.Conns, Active: active, Depth: t.Depth, Rate: t.Rate, Tape: tape, Threads: t.Threads,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	first := s.Exchange() // so that every connection has been accepted and its memory is there
	m := t.meter()
	result := s.Run(m.window(ctx))
	result.Errors += first.Errors
	result.Mismatches += first.Mismatches
	result.Failures = append(first.Failures, result.Failures...)
	t.attempt.Round = m.round(result)
	return nil
}

func notOn(what, reason string) error {
	return &process.UnsupportedError{Reason: fmt.Sprintf("%s: %s", what, reason)}
}
