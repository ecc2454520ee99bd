// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/quartet-go/quartet/reactor/inspect"
	"github.com/quartet-go/quartet/servers/top"
	"golang.org/x/sys/unix"
)

const topSummary = "shows what another of these servers is doing, one with -metrics"

// topConfig is what the command line of top says.
type topConfig struct {
	page     *url.URL
	interval time.Duration
	times    int // 0 until a signal
	flows    int
}

// runTop shows the page that args name, until a signal or as often as asked.
func runTop(args []string, signals <-chan os.Signal) int {
	cfg, err := parseTop(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return complain(exitUsage, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		<-signals
		stop()
	}()
	size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ)
	screen := err == nil
	if !screen {
		cfg.times = cmp.Or(cfg.times, 1)
		size = &unix.Winsize{}
	}
	for n := 1; ; n++ {
		p, err := top.Get(ctx, cfg.page, cfg.interval, cfg.flows)
		switch {
		case ctx.Err() != nil:
			return exitOK
		case err != nil:
			return complain(exitFailed, err)
		}
		if screen && cfg.times != 1 {
			if resized, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil {
				size = resized
			}
			refresh(top.View(p, int(size.Col)), int(size.Row))
		} else {
			fmt.Println(strings.Join(top.View(p, int(size.Col)), "\n"))
		}
		if n == cfg.times {
			return exitOK
		}
	}
}

// refresh writes lines over what the screen shows, as many as fit, by the escape sequences of ECMA-48: home, erase to
// the end of the line, erase to the end of the screen.
func refresh(lines []string, rows int) {
	if rows > 1 {
		lines = lines[:min(len(lines), rows-1)]
	}
	fmt.Print("\x1b[H" + strings.Join(lines, "\x1b[K\n") + "\x1b[K\n\x1b[J")
}

// parseTop reads the command line: the URL before or after the flags.
func parseTop(args []string) (*topConfig, error) {
	cfg := &topConfig{interval: time.Second, flows: inspect.DefaultFlows}
	f := &flags{set: flag.NewFlagSet("top", flag.ContinueOnError)}
	f.set.SetOutput(io.Discard)
	f.set.Usage = func() {}
	f.count("n", "show it `N` times, 0 for until a signal; once if not on a terminal", &cfg.times, 1<<30)
	f.set.Func("interval", "how long to watch before showing, a `duration` (default 1s)", func(s string) (err error) {
		if cfg.interval, err = time.ParseDuration(s); err != nil || cfg.interval <= 0 || cfg.interval > inspect.MaxSample {
			return fmt.Errorf("want a duration above 0 and up to %v, like 300ms or 10s", inspect.MaxSample)
		}
		return nil
	})
	f.count("flows", "show the `N` busiest connections", &cfg.flows, inspect.MaxFlows)
	var urls []string
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		urls, args = args[:1], args[1:]
	}
	switch err := f.parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Printf("Usage: servers top URL [flags]\n\ntop %s, at URL: http://host:port, host:port or :port.\n\n", topSummary)
		f.set.SetOutput(os.Stdout)
		f.set.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, err
	}
	urls = append(urls, f.set.Args()...)
	if len(urls) != 1 {
		return nil, fmt.Errorf("top got %d URLs %q, want one, like http://127.0.0.1:9100", len(urls), urls)
	}
	var err error
	if cfg.page, err = top.ParseURL(urls[0]); err != nil {
		return nil, fmt.Errorf("invalid URL %q: %w", urls[0], err)
	}
	return cfg, nil
}
