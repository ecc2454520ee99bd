// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartet-go/quartet/bench/process"
	"github.com/quartet-go/quartet/bench/scenario"
	"github.com/quartet-go/quartet/codec"
)

// A config is what the command line says.
type config struct {
	servers   []process.Server
	scenarios []*scenario.Scenario
	options   scenario.Options
	rounds    int
	json      string
	html      string
	quiet     bool
	list      bool // the scenarios, nothing else
	firstLook bool // no flag that asks for more than the first look
	args      []string

	sizeText string // as given
}

// The first look: what a run without flags measures, and how long it may take.
const (
	firstServers   = "reactor,goroutine,gnet"
	firstScenarios = "echo,frames"
	firstRounds    = 7
	firstDuration  = time.Second
	firstWarmup    = 250 * time.Millisecond
	firstLookTime  = 80 * time.Second // no round begins that might end later, from the start of the program
)

// Bounds of flags.
const (
	mostConns  = 15000
	mostDepth  = 1024
	mostRounds = 1000
	mostLoops  = 1024
	mostTime   = time.Hour
	mostRate   = 10_000_000
)

// parse reads the command line. Its errors are one line; flag.ErrHelp means that help was asked for and given.
func parse(args []string) (*config, error) {
	cfg := &config{rounds: firstRounds, args: args}
	o := &cfg.options
	o.Duration, o.Warmup = firstDuration, firstWarmup
	o.Loops = max(runtime.NumCPU()/2, 1)
	o.Threads = max(runtime.NumCPU()/2, 1)

	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	cfg.servers, _ = process.Named(firstServers)
	cfg.scenarios, _ = scenario.Named(firstScenarios)
	f.Func("servers", "`names` of servers, the first is compared with the others: "+process.Names()+", or all\n(default "+firstServers+")", func(s string) (err error) {
		cfg.servers, err = process.Named(s)
		return err
	})
	f.Func("scenarios", "`names` of scenarios: "+scenario.Names()+", or all; list tells what they are\n(default "+firstScenarios+")", func(s string) (err error) {
		if cfg.list = s == "list"; cfg.list {
			return nil
		}
		cfg.scenarios, err = scenario.Named(s)
		return err
	})
	number(f, "conns", "`N` connections (default the scenario's)", &o.Conns, 1, mostConns)
	f.Func("size", "`size` of a message, like 64 or 64KiB (default the scenario's)", func(s string) (err error) {
		cfg.sizeText = s
		if o.Size, err = codec.ParseSize(s); err == nil && o.Size < 1 {
			err = errors.New("want 1 or more")
		}
		return err
	})
	number(f, "depth", "`N` requests in flight on a connection (default 1, for frames 16)", &o.Depth, 1, mostDepth)
	duration(f, "duration", "of a round, a `duration` (default 1s)", &o.Duration, time.Millisecond)
	duration(f, "warmup", "before each round, a `duration` (default 250ms)", &o.Warmup, 0)
	number(f, "rounds", fmt.Sprintf("`N` rounds of each server; intervals take 6 (default %d)", firstRounds), &cfg.rounds, 1, mostRounds)
	f.Func("rate", "`N` requests/s over all connections, an open loop (default 0, a closed one)", func(s string) (err error) {
		if o.Rate, err = strconv.ParseFloat(s, 64); err != nil || !(o.Rate >= 0 && o.Rate <= mostRate) {
			return fmt.Errorf("want a number from 0 to %d", mostRate)
		}
		return nil
	})
	number(f, "loops", "`N` event loops and GOMAXPROCS of every server (default half of the CPUs)", &o.Loops, 1, mostLoops)
	o.Seed = int64(rand.Uint32())
	number(f, "seed", "`N` of the order of the servers and of the messages (default random)", &o.Seed, 0, 1<<53)
	file(f, "json", "write the results to `file`", &cfg.json)
	file(f, "html", "write one self-contained page to `file`", &cfg.html)
	f.BoolFunc("quiet", "print the tables only", func(s string) (err error) {
		if cfg.quiet, err = strconv.ParseBool(s); err != nil {
			err = errors.New("want true or false")
		}
		return err
	})

	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print("Usage: go run ./bench [flags], in the repository's root\n\nWith no flags, a first look in under 90 seconds.\n\n")
		f.SetOutput(os.Stdout)
		f.PrintDefaults()
		return nil, err
	case err != nil && strings.HasPrefix(err.Error(), "flag provided but not defined"):
		return nil, fmt.Errorf("%w, want one of those that bench -h lists", err)
	case err != nil:
		return nil, err
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q, want flags only", f.Arg(0))
	}
	cfg.firstLook = true
	f.Visit(func(f *flag.Flag) {
		cfg.firstLook = cfg.firstLook && slices.Contains([]string{"json", "html", "quiet", "seed"}, f.Name)
	})
	return cfg, cfg.check()
}

// check looks at what only all flags together tell.
func (cfg *config) check() error {
	for _, s := range cfg.scenarios {
		least, most := s.Sizes()
		if n := cfg.options.Size; n > 0 && (n < least || n > most) {
			return fmt.Errorf("invalid value %q for flag -size: %s takes messages of %d to %d bytes", cfg.sizeText, s.Name, least, most)
		}
	}
	if cfg.html != "" && cfg.html == cfg.json {
		return fmt.Errorf("invalid value %q for flag -html: -json goes there, want another file", cfg.html)
	}
	return nil
}

// file declares a flag that names a file to write. An hour's run is not to end with one that cannot be written.
func file(f *flag.FlagSet, name, usage string, to *string) {
	f.Func(name, usage, func(s string) error {
		_, err := os.Lstat(s)
		out, failed := os.OpenFile(s, os.O_WRONLY|os.O_CREATE, 0o666)
		if failed != nil {
			return fmt.Errorf("%w, want a file that can be written", failed)
		}
		out.Close()
		if err != nil { // it was not there
			_ = os.Remove(s)
		}
		*to = s
		return nil
	})
}

// number declares a flag that is a number from least to most.
func number[N int | int64](f *flag.FlagSet, name, usage string, n *N, least, most int64) {
	f.Func(name, usage, func(s string) error {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil || v < least || v > most {
			return fmt.Errorf("want a whole number from %d to %d", least, most)
		}
		*n = N(v)
		return nil
	})
}

// duration declares a flag that is a duration of least or more.
func duration(f *flag.FlagSet, name, usage string, d *time.Duration, least time.Duration) {
	f.Func(name, usage, func(s string) error {
		v, err := time.ParseDuration(s)
		if err != nil || v < least || v > mostTime {
			return fmt.Errorf("want a duration from %v to %v, like 300ms or 3s", least, mostTime)
		}
		*d = v
		return nil
	})
}
