// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/quartet-go/quartet/bench/load"
	"github.com/quartet-go/quartet/bench/process"
	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/report"
	"github.com/quartet-go/quartet/bench/rig"
	"github.com/quartet-go/quartet/bench/scenario"
	"github.com/quartet-go/quartet/bench/stats"
)

// firstServer is the one whose failures count also where others are expected to fail.
const firstServer = "reactor"

var errInterrupted = errors.New("interrupted")

// A contest is one case of a scenario and the results of all servers in it.
type contest struct {
	scenario *scenario.Scenario
	with     scenario.Case
	results  []record.Result // in the order of the servers
}

// measure makes the rounds. When it is interrupted it returns what there is, and the error.
func measure(ctx context.Context, cfg *config, start time.Time) (*record.Run, error) {
	root, err := process.Root()
	if err != nil {
		return nil, err
	}
	built, err := process.Build(ctx, root, cfg.servers)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, errInterrupted
	case err != nil:
		return nil, err
	}
	defer built.Remove()
	r := &record.Run{Rig: describe(cfg, built)}
	contests := plan(cfg)
	if !cfg.quiet {
		for _, b := range built.Built {
			if b.Rivals {
				fmt.Printf("built the rivals of %s in %.1f s\n", b.Module, b.Seconds)
			}
		}
		fmt.Print(report.Header(&r.Rig))
	}

	from := rig.Now()
	began := time.Now()
	skipped, err := rounds(ctx, cfg, built, contests, start, apart(built))
	r.Rig.Elapsed = time.Since(began).Seconds()
	r.Results = []record.Result{}
	for _, c := range contests {
		r.Results = append(r.Results, c.results...)
	}
	r.Comparisons = stats.Compare(r.Results)
	r.Checks = checks(r.Results, from, rig.Now())
	if skipped > 0 {
		r.Checks = append(r.Checks, record.Check{Name: "rounds", Text: fmt.Sprintf("%d of %d left out, to end in time", skipped, cfg.rounds)})
	}
	return r, err
}

func describe(cfg *config, built *process.Programs) record.Rig {
	d := rig.Describe()
	o := cfg.options
	d.Seed, d.Loops, d.Duration, d.Warmup = o.Seed, o.Loops, o.Duration.Seconds(), o.Warmup.Seconds()
	d.Syscalls, _ = process.SyscallsHow()
	d.Load = fmt.Sprintf("%d thread(s) in this process, %s; sources 127.0.0.2 and up, 5,000 connections each", o.Threads, load.Poller)
	d.Versions, d.Revision, d.Command = built.Versions, built.Revision, cfg.args
	for _, b := range built.Built {
		d.Build += b.Seconds
	}
	return d
}

// apart is how long building rivals took, which does not count towards the time of the first look.
func apart(built *process.Programs) (d time.Duration) {
	for _, b := range built.Built {
		if b.Rivals {
			d += time.Duration(b.Seconds * float64(time.Second))
		}
	}
	return d
}

// plan lists what is to be measured.
func plan(cfg *config) []*contest {
	var list []*contest
	for _, s := range cfg.scenarios {
		for _, with := range s.Cases(cfg.options) {
			c := &contest{scenario: s, with: with}
			for _, server := range cfg.servers {
				c.results = append(c.results, record.Result{
					Scenario: s.Name, Server: server.Name, Conns: with.Conns, Size: with.Size, Depth: with.Depth, Rate: with.Rate,
					Rounds: []record.Round{},
				})
			}
			list = append(list, c)
		}
	}
	return list
}

// rounds makes round after round, in each one case after the other, in each case all servers in a shuffled order, next
// to each other. It returns how many rounds were left out because the first look was to end.
func rounds(ctx context.Context, cfg *config, built *process.Programs, contests []*contest, start time.Time, apart time.Duration) (skipped int, err error) {
	rng := rand.New(rand.NewPCG(uint64(cfg.options.Seed), 0))
	total := 0
	for _, c := range contests {
		total += c.scenario.Rounds(cfg.rounds) * len(cfg.servers)
	}
	progress := report.NewProgress(os.Stderr, total, cfg.quiet)
	defer progress.Clear()
	var before time.Duration
	for i := range cfg.rounds {
		// A round takes as long as the one before, or a little more. One there is in any case.
		now := time.Since(start) - apart
		if cfg.firstLook && i > 0 && now+(now-before)*5/4 > firstLookTime {
			return cfg.rounds - i, nil
		}
		before = now
		for _, c := range contests {
			if i >= c.scenario.Rounds(cfg.rounds) {
				continue
			}
			for place, s := range rng.Perm(len(cfg.servers)) {
				progress.Step(fmt.Sprintf("round %d of %d: %s %s", i+1, cfg.rounds, c.scenario.Name, cfg.servers[s].Name))
				if err := c.try(ctx, cfg, built, s, place); err != nil {
					return 0, err
				}
			}
		}
	}
	return 0, nil
}

// try makes one round of one server.
func (c *contest) try(ctx context.Context, cfg *config, built *process.Programs, server, place int) error {
	result := &c.results[server]
	if result.Reason != "" && len(result.Rounds) == 0 {
		return nil // the server does not have this
	}
	before := rig.Now()
	a, err := c.scenario.Try(ctx, built, cfg.servers[server], c.with, cfg.options)
	if err != nil {
		return errInterrupted
	}
	if a.Unsupported != "" {
		result.Reason = a.Unsupported
		return nil
	}
	a.Round.Order = place
	a.Round.Steal = rig.Steal(before, rig.Now())
	result.Rounds = append(result.Rounds, a.Round)
	if a.Survived != nil && (result.Survived == nil || *result.Survived) {
		result.Survived = a.Survived
	}
	if result.Reason == "" {
		result.Reason = a.Reason
	}
	return nil
}

// counts says whether what goes wrong is a failure of the run. In survival scenarios others than the reactor may fail:
// that is their score.
func counts(r *record.Result) bool { return r.Survived == nil || r.Server == firstServer }

// failed says whether an answer was wrong or missing.
func failed(r *record.Run) bool {
	for _, result := range r.Results {
		if !counts(&result) {
			continue
		}
		if result.Survived != nil && !*result.Survived {
			return true
		}
		for _, round := range result.Rounds {
			if round.Errors+round.Mismatches > 0 {
				return true
			}
		}
	}
	return false
}
