// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quartet-go/quartet/bench/process"
)

// A Scenario is one kind of work.
type Scenario struct {
	Name     string
	Sentence string // what it is, for -scenarios list
	Survival bool   // scored by who survives

	// Least and Most bound the size of a message; 0 is 1, and 16 MiB.
	Least, Most int
	Closed      bool // -rate does not apply
	Single      bool // -depth does not apply
	Apart       bool // not part of all

	cases []Case
	run   func(ctx context.Context, t *test) error
}

// A Case is a scenario with its numbers.
type Case struct {
	Conns int
	Size  int
	Depth int
	Rate  float64
}

// Options are what the command line says about every case. The zero value of a Case's fields means the scenario's own
// numbers.
type Options struct {
	Case
	Duration, Warmup time.Duration
	Loops            int
	Threads          int // of the load
	Seed             int64
}

// All are the scenarios in the order of the reports.
var All = []*Scenario{
	echo, frames, fixed, large, push, broadcast, churn, idle, mixed, udp, unixEcho, slow, halfClose, emfile, scale,
}

// maxMessage bounds -size.
const maxMessage = 16 << 20

// Named finds the scenarios of a comma-separated list; "all" is every one but those apart.
func Named(list string) ([]*Scenario, error) {
	var found []*Scenario
	if list == "all" {
		for _, s := range All {
			if !s.Apart {
				found = append(found, s)
			}
		}
		return found, nil
	}
	for _, name := range strings.Split(list, ",") {
		i := slices.IndexFunc(All, func(s *Scenario) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario is called %q, want list, all or some of %s", name, Names())
		}
		if slices.Contains(found, All[i]) {
			return nil, fmt.Errorf("%q is named twice", name)
		}
		found = append(found, All[i])
	}
	return found, nil
}

// Names lists the names of all scenarios.
func Names() string {
	var names []string
	for _, s := range All {
		names = append(names, s.Name)
	}
	return strings.Join(names, ",")
}

// Sizes returns the bounds of a message's size.
func (s *Scenario) Sizes() (least, most int) {
	least, most = max(s.Least, 1), s.Most
	if most == 0 {
		most = maxMessage
	}
	return least, most
}

// Cases returns the scenario's cases with what the options say in place of its own numbers.
func (s *Scenario) Cases(o Options) []Case {
	var list []Case
	for _, c := range s.cases {
		if o.Conns > 0 {
			c.Conns = o.Conns
		}
		if o.Size > 0 {
			c.Size = o.Size
		}
		if o.Depth > 0 && !s.Single {
			c.Depth = o.Depth
		}
		if !s.Closed {
			c.Rate = o.Rate
		}
		if !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	return list
}

// Rounds returns how many rounds the scenario takes when n are asked for: who survives three times survives.
func (s *Scenario) Rounds(n int) int {
	if s.Survival {
		return min(n, 3)
	}
	return n
}

// spec is the server that a test needs.
func (t *test) spec(service, network string) process.Spec {
	return process.Spec{Server: t.server.Name, Service: service, Network: network, Loops: t.Loops, Buffer: t.buffer(), Size: t.Size}
}

// What a server with a buffer for each connection gets: enough for what a connection has in flight, up to 64 KiB.
const leastBuffer, mostBuffer = 4 << 10, 64 << 10

func (t *test) buffer() int {
	n := leastBuffer
	for n < mostBuffer && n < t.Size*t.Depth {
		n *= 2
	}
	return n
}
