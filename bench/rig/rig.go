// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package rig says what machine a run was made on and watches it meanwhile: time taken by the host, throttling, other
// load, the clock.
package rig

import (
	"fmt"
	"runtime"
	"time"

	"github.com/quartet-go/quartet/bench/record"
)

// Describe describes this machine.
func Describe() record.Rig {
	r := record.Rig{
		CPUs: runtime.NumCPU(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, Time: time.Now().Truncate(time.Second),
	}
	describe(&r)
	return r
}

// Ticks are the machine's accounts at a moment, in ticks since its start.
type Ticks struct {
	Total, Idle, Steal float64
	Busy               float64 // in processes, interrupts left out
	Own                float64 // of this process and its children that have ended
	Throttled          float64 // of this control group, in periods, and of the processors, in events
	known              bool
}

// Others returns how many CPUs processes other than this one and its children used between two moments, nil if that is
// not known.
func Others(from, to Ticks) *float64 {
	if !from.known || !to.known || to.Total <= from.Total {
		return nil
	}
	n := max((to.Busy-from.Busy)-(to.Own-from.Own), 0) / (to.Total - from.Total) * float64(runtime.NumCPU())
	return &n
}

// Steal returns the share of the machine's CPU time that its host took between two moments, nil if that is not known.
func Steal(from, to Ticks) *float64 {
	if !from.known || !to.known || to.Total <= from.Total {
		return nil
	}
	share := (to.Steal - from.Steal) / (to.Total - from.Total)
	return &share
}

// What the checks allow.
const (
	mostSteal     = 0.01
	mostClockNS   = 200.0
	clockReadings = 20000
)

// Checks judges the time between two moments.
func Checks(from, to Ticks) []record.Check {
	return []record.Check{stealCheck(from, to), throttleCheck(from, to), clockCheck()}
}

func stealCheck(from, to Ticks) record.Check {
	c := record.Check{Name: "steal", OK: true, Text: "not known here"}
	if s := Steal(from, to); s != nil {
		c.OK = *s <= mostSteal
		c.Text = fmt.Sprintf("the host took %.2f %% of the CPU time", *s*100)
	}
	return c
}

func throttleCheck(from, to Ticks) record.Check {
	if !from.known || !to.known {
		return record.Check{Name: "throttling", OK: true, Text: "not known here"}
	}
	n := to.Throttled - from.Throttled
	return record.Check{Name: "throttling", OK: n == 0, Text: fmt.Sprintf("%.0f times", n)}
}

// clockCheck measures what reading the clock costs and how finely it counts.
func clockCheck() record.Check {
	start := time.Now()
	last, step := time.Duration(0), time.Hour
	for range clockReadings {
		now := time.Since(start)
		if d := now - last; d > 0 {
			step = min(step, d)
		}
		last = now
	}
	each := float64(last.Nanoseconds()) / clockReadings
	return record.Check{Name: "clock", OK: each <= mostClockNS, Text: fmt.Sprintf("%s: %.0f ns a reading, steps of %v", clockSource(), each, step)}
}
