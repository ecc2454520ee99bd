// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/rig"
)

// What the checks allow.
const (
	mostBusy  = 0.95 // of the load generator, beyond which it may be the bottleneck
	mostOther = 0.10 // CPUs that other processes use
	listed    = 6    // how many a warning names
)

// checks has the run look at itself.
func checks(results []record.Result, from, to rig.Ticks) []record.Check {
	list := rig.Checks(from, to)
	if other := rig.Others(from, to); other != nil {
		list = append(list, record.Check{Name: "load", OK: *other <= mostOther,
			Text: fmt.Sprintf("other processes used %.2f of %d CPUs", *other, runtime.NumCPU())})
	}
	return append(list, generatorCheck(results), lateCheck(results), errorCheck(results))
}

func generatorCheck(results []record.Result) record.Check {
	c := record.Check{Name: "generator", OK: true}
	busiest := 0.0
	var saturated []string
	for i := range results {
		var busy []float64
		for _, r := range results[i].Rounds {
			if r.GeneratorBusy != nil {
				busy = append(busy, *r.GeneratorBusy)
			}
		}
		if len(busy) == 0 {
			continue
		}
		b := slices.Max(busy)
		busiest = max(busiest, b)
		name := results[i].Scenario + "/" + results[i].Server
		if b > mostBusy && !slices.Contains(saturated, name) {
			saturated = append(saturated, name)
		}
	}
	c.Text = fmt.Sprintf("busy %.0f %% of the time at most", busiest*100)
	if len(saturated) > 0 {
		c.OK = false
		c.Text += fmt.Sprintf("; with %s it may be the bottleneck: their messages/s are its own limit, CPU a message is not", some(saturated))
	}
	return c
}

// mostLate is how late an open loop's request may be written, in ns, without a warning.
const mostLate = 1_000_000

func lateCheck(results []record.Result) record.Check {
	worst, open := int64(0), false
	for i := range results {
		for _, r := range results[i].Rounds {
			if r.GeneratorLate != nil {
				worst, open = max(worst, *r.GeneratorLate), true
			}
		}
	}
	if !open {
		return record.Check{Name: "schedule", OK: true, Text: "closed loops: latency is from the writing of a request, and grows with what is in flight"}
	}
	return record.Check{Name: "schedule", OK: worst <= mostLate, Text: fmt.Sprintf("99 %% of the requests were written within %d µs of their time, which latency counts from", worst/1000)}
}

func errorCheck(results []record.Result) record.Check {
	var bad []string
	scored := 0
	for i := range results {
		if !counts(&results[i]) {
			if !*results[i].Survived {
				scored++
			}
			continue
		}
		wrong, missing := int64(0), int64(0)
		why := ""
		for _, r := range results[i].Rounds {
			wrong, missing = wrong+r.Mismatches, missing+r.Errors
			if why == "" && len(r.Failures) > 0 {
				why = r.Failures[0]
			}
		}
		if wrong+missing > 0 {
			bad = append(bad, fmt.Sprintf("%s/%s: %d wrong, %d missing (%s)", results[i].Scenario, results[i].Server, wrong, missing, why))
		}
	}
	if len(bad) == 0 {
		c := record.Check{Name: "answers", OK: true, Text: "every byte of every answer was right"}
		if scored > 0 {
			c.Text += fmt.Sprintf(", but for what %d did not survive", scored)
		}
		return c
	}
	return record.Check{Name: "answers", Text: some(bad)}
}

// some lists the first few.
func some(list []string) string {
	if len(list) > listed {
		return strings.Join(list[:listed], ", ") + fmt.Sprintf(" and %d more", len(list)-listed)
	}
	return strings.Join(list, ", ")
}
