// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

// A config is what the command line says.
type config struct {
	service   *service
	endpoints []endpoint
	reactor   reactor.Options
	stream    reactor.StreamOptions
	codec     codec.Codec
	size      int // of a message
	logLevel  slog.Level
	profile   *os.File      // nil for none
	metrics   string        // address to serve them on, "" for none
	inspect   string        // address to serve the live page on, "" for none
	demo      time.Duration // between the steps of its clients, 0 for none
	trace     *os.File      // nil for none
	story     bool          // as which trace is written
}

// parse reads the command line, for a process that was given sockets. Its errors are one line; flag.ErrHelp means that
// help was asked for and given.
func parse(args []string, given *reactor.Inheritance) (*config, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("SERVICE is missing, want one of %s", names())
	}
	if slices.Contains([]string{"-h", "-help", "--h", "--help"}, args[0]) {
		printUsage()
		return nil, flag.ErrHelp
	}
	i := slices.IndexFunc(services, func(s *service) bool { return s.name == args[0] })
	if i < 0 {
		return nil, fmt.Errorf("unknown SERVICE %q, want one of %s, before any flag", args[0], names())
	}
	f := newFlags(services[i])
	switch err := f.parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		f.printUsage()
		return nil, err
	case err != nil:
		return nil, err
	case f.set.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q, want flags only after %s", f.set.Arg(0), args[0])
	}
	return f.config(given)
}

func names() string {
	var list []string
	for _, s := range services {
		list = append(list, s.name)
	}
	return strings.Join(append(list, "top"), ", ")
}

func printUsage() {
	fmt.Print("Usage: servers SERVICE [flags]\n\nServices (servers SERVICE -h lists the flags):\n")
	for _, s := range services {
		fmt.Printf("  %-10s %s; over %s\n", s.name, s.summary, strings.Join(s.networks, ", "))
	}
	fmt.Printf("\nOr servers top URL:\n  %-10s %s\n", "top", topSummary)
}

// flags is a command line being read.
type flags struct {
	set *flag.FlagSet
	cfg config

	high, low, max size
	profile, trace string
}

// newFlags declares the flags. All services have the same ones, so that a command line survives a change of the service.
func newFlags(s *service) *flags {
	f := &flags{set: flag.NewFlagSet(s.name, flag.ContinueOnError), cfg: config{service: s, size: 16}}
	f.set.SetOutput(io.Discard)
	f.set.Usage = func() {}
	f.high, f.max = size{reactor.DefaultHighWater, "64KiB"}, size{reactor.DefaultMaxOutput, "16MiB"}
	f.cfg.reactor.DrainTimeout = reactor.DefaultDrainTimeout
	f.cfg.reactor.SlowHandler = 100 * time.Millisecond
	f.cfg.codec = codec.LengthPrefix(4, codec.DefaultMax)

	f.set.Func("listen", "`URL` to listen on, repeatable: tcp://host:port, tcp4://, tcp6://, udp://, udp4://, udp6://, unix://path\n"+
		"(default 127.0.0.1:1060 on tcp and udp, where the service has them)", func(url string) error {
		e, err := parseEndpoint(url)
		if err == nil && !slices.Contains(s.networks, e.kind()) {
			err = fmt.Errorf("%s is served over %s only", s.name, strings.Join(s.networks, ", "))
		}
		f.cfg.endpoints = append(f.cfg.endpoints, e)
		return err
	})
	f.count("loops", "`N` event loops, 0 for one per CPU", &f.cfg.reactor.Loops, 1024)
	f.set.BoolFunc("reuseport", "give each loop a listening tcp socket of its own", func(s string) (err error) {
		if f.cfg.stream.ReusePort, err = strconv.ParseBool(s); err != nil {
			err = errors.New("want true or false")
		}
		return err
	})
	f.count("backlog", "`N` connections may wait to be accepted, 0 for the system's maximum", &f.cfg.stream.Backlog, math.MaxInt32)
	f.count("max-conns", "`N` connections may be open, 0 for no limit", &f.cfg.reactor.MaxConns, math.MaxInt)
	f.duration("idle-timeout", "close connections on which nothing moves for this `duration`, 0 for never", &f.cfg.stream.IdleTimeout)
	f.duration("first-byte-timeout", "close connections whose peer says nothing for this `duration` after it connected, 0 for never", &f.cfg.stream.FirstByteTimeout)
	f.duration("frame-timeout", "close connections that leave a frame unfinished for this `duration`, 0 for never", &f.cfg.stream.FrameTimeout)
	f.set.Var(&f.high, "high-water", "`size` of unsent output above which a connection is not read from")
	f.set.Var(&f.low, "low-water", "`size` below which it is again (default a quarter of -high-water, at most 16KiB)")
	f.set.Var(&f.max, "max-output", "`size` of unsent output at which no more is taken")
	f.duration("drain-timeout", "how long connections may take to finish after SIGTERM, a `duration`", &f.cfg.reactor.DrainTimeout)
	f.set.Func("codec", "`SPEC` of the frames service: fixed:N, len:N[,max=S],\n"+
		"length:size=4,offset=0,adjust=0,strip=0,order=big|little,max=1MiB, varint[:max=S], line[:max=S],\n"+
		"delim:hex=0d0a+0a[,max=S][,keep], netstring[:max=S] or raw (default len:4)", func(spec string) (err error) {
		f.cfg.codec, err = codec.Parse(spec)
		return err
	})
	f.set.Func("size", "`octets` of a message for the message service (default 16)", func(s string) (err error) {
		if f.cfg.size, err = codec.ParseSize(s); err == nil && (f.cfg.size < 1 || f.cfg.size > math.MaxInt32) {
			err = errors.New("want 1 to 2147483647")
		}
		return err
	})
	f.set.Func("log-level", "`level` of the log: debug, info, warn or error (default info)", func(s string) error {
		if !slices.Contains([]string{"debug", "info", "warn", "error"}, s) {
			return errors.New("want debug, info, warn or error")
		}
		return f.cfg.logLevel.UnmarshalText([]byte(s))
	})
	f.address("metrics", "serve Prometheus metrics at http://`address`/metrics, pprof at /debug/pprof/ and what servers top\n"+
		"shows at /debug/quartet", &f.cfg.metrics)
	f.address("inspect", "serve a page at http://`address`/ that shows the event loops at work", &f.cfg.inspect)
	f.duration("demo", "have clients of its own show on that page what sockets do, a step each `duration`, 0 for none", &f.cfg.demo)
	f.duration("slow-handler", "log what holds an event loop longer than this `duration`, with its stack, 0 for never", &f.cfg.reactor.SlowHandler)
	f.set.StringVar(&f.trace, "trace", "", "write the last events of the loops to `file` at the end: a story if it ends in .txt, else\n"+
		"JSON for ui.perfetto.dev")
	f.set.StringVar(&f.profile, "cpuprofile", "", "write a CPU profile to `file`")
	return f
}

// parse reads the flags, and adds to package flag's errors what would be right where they do not say it.
func (f *flags) parse(args []string) error {
	err := f.set.Parse(args)
	if err == nil {
		return nil
	}
	if name, missing := strings.CutPrefix(err.Error(), "flag needs an argument: -"); missing {
		value, _ := flag.UnquoteUsage(f.set.Lookup(name))
		return fmt.Errorf("%w, want -%s %s", err, name, strings.ToUpper(value))
	}
	if strings.HasPrefix(err.Error(), "flag provided but not defined") || strings.HasPrefix(err.Error(), "bad flag syntax") {
		return fmt.Errorf("%w, want one of those that servers %s -h lists", err, f.set.Name())
	}
	return err
}

func (f *flags) printUsage() {
	s := f.cfg.service
	fmt.Printf("Usage: servers %s [flags]\n\n%s %s, over %s.\n\nSizes are bytes, or like 64KiB or 1MiB; durations like 300ms or 10s.\n\n",
		s.name, s.name, s.summary, strings.Join(s.networks, ", "))
	f.set.SetOutput(os.Stdout)
	f.set.PrintDefaults()
}

// config checks what only all flags together can tell.
func (f *flags) config(given *reactor.Inheritance) (*config, error) {
	switch {
	case f.high.bytes > f.max.bytes:
		return nil, fmt.Errorf("-high-water %s exceeds -max-output %s, want low-water <= high-water <= max-output", f.high.text, f.max.text)
	case f.low.bytes > f.high.bytes:
		return nil, fmt.Errorf("-low-water %s exceeds -high-water %s, want low-water <= high-water <= max-output", f.low.text, f.high.text)
	}
	cfg := f.cfg
	// To the reactor 0 means the default. One byte is next to it, and acts alike: any output is above, none is below.
	cfg.stream.HighWater, cfg.stream.MaxOutput = max(f.high.bytes, 1), max(f.max.bytes, 1)
	if f.low.text != "" {
		cfg.stream.LowWater = max(f.low.bytes, 1)
	}
	cfg.reactor.DrainTimeout = max(cfg.reactor.DrainTimeout, 1)
	// The tracer of log.go hides from the reactor what a codec needs.
	cfg.stream.MaxInput = max(reactor.DefaultMaxInput, cfg.codec.Max(), cfg.size)
	if err := take(given.Sockets, &cfg); err != nil {
		return nil, err
	}
	if cfg.endpoints == nil {
		cfg.endpoints = cfg.service.defaultEndpoints()
	}
	if cfg.demo > 0 && !slices.ContainsFunc(cfg.endpoints, func(e endpoint) bool { return e.kind() != "udp" }) {
		return nil, fmt.Errorf("-demo %v has nothing to connect to, want a listener on tcp or unix", cfg.demo)
	}
	cfg.story = filepath.Ext(f.trace) == ".txt"
	if given.FromPredecessor() { // who may not have finished the files yet
		f.profile, f.trace = successors(f.profile), successors(f.trace)
	}
	var err error
	if cfg.profile, err = create("cpuprofile", f.profile); err != nil {
		return nil, err
	}
	if cfg.trace, err = create("trace", f.trace); err != nil {
		return nil, err
	}
	return &cfg, nil
}

// successors returns the name of a successor's file in place of its predecessor's.
func successors(path string) string {
	if path == "" {
		return ""
	}
	return fmt.Sprintf("%s.%d", path, os.Getpid())
}

// create opens the file that a flag names, if it does.
func create(flag, path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("invalid value %q for flag -%s: %w, want a file that can be written", path, flag, err)
	}
	return file, nil
}

// count declares a flag that is a number from 0 to most.
func (f *flags) count(name, usage string, n *int, most int) {
	f.set.Func(name, usage+fmt.Sprintf(" (default %d)", *n), func(s string) error {
		v, err := strconv.Atoi(s)
		if err != nil || v < 0 || v > most {
			return fmt.Errorf("want a whole number from 0 to %d", most)
		}
		*n = v
		return nil
	})
}

// duration declares a flag that is a duration of 0 or more.
func (f *flags) duration(name, usage string, d *time.Duration) {
	f.set.Func(name, usage+fmt.Sprintf(" (default %v)", *d), func(s string) error {
		v, err := time.ParseDuration(s)
		if err != nil || v < 0 {
			return errors.New("want a duration of 0 or more, like 300ms or 10s")
		}
		*d = v
		return nil
	})
}

// address declares a flag that says where to serve pages to see the loops by.
func (f *flags) address(name, usage string, address *string) {
	f.set.Func(name, usage+"; :port means 127.0.0.1:port (default none)", func(s string) error {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return errors.New("want host:port, or :port for 127.0.0.1:port")
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return fmt.Errorf("port %q is not a number from 0 to 65535", port)
		}
		*address = net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port)
		f.cfg.reactor.Measure = true
		return nil
	})
}

// A size is a flag's number of bytes, and how it was written.
type size struct {
	bytes int
	text  string
}

func (s *size) String() string { return s.text }

// Set is part of flag.Value.
func (s *size) Set(text string) (err error) {
	s.text = text
	s.bytes, err = codec.ParseSize(text)
	return err
}
