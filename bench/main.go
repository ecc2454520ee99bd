// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Bench compares servers: it starts each as a process of its own, drives it over loopback, checks every byte that comes
// back, and says what each message cost the server.
//
//	go run ./bench [flags]
//	go run ./bench report [flags] FILE...
//
// It is a pipeline over recorded data. flags.go says what to measure, run.go makes the rounds, checks.go has the run
// look at itself; below, package process builds and runs the servers of bench/target, load drives them, scenario is
// what they are put to, record holds what was measured, stats compares and report shows. Nothing after run.go measures
// anything, so that a report can be made again from the file of -json.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/quartet-go/quartet/bench/record"
	"github.com/quartet-go/quartet/bench/report"
	"github.com/quartet-go/quartet/bench/scenario"
)

// What the program's exit says.
const (
	exitOK     = 0
	exitFailed = 1 // an answer wrong or missing, or nothing could be measured
	exitUsage  = 2
)

// stopTime is how long an interrupted run may take to clean up.
const stopTime = 5 * time.Second

func main() { os.Exit(run(os.Args[1:], time.Now())) }

func run(args []string, start time.Time) int {
	if len(args) > 0 && args[0] == "report" {
		return reported(report.Command(args[1:], os.Stdout))
	}
	cfg, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return complain(exitUsage, err)
	case cfg.list:
		for _, s := range scenario.All {
			fmt.Printf("%-11s %s\n", s.Name, s.Sentence)
		}
		return exitOK
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The round ends at once and what there is is shown. A signal after stopTime ends the program as it is; one that only
	// repeats the first (timeout(1) sends two) does not.
	context.AfterFunc(ctx, func() { time.AfterFunc(stopTime, stop) })
	results, err := measure(ctx, cfg, start)
	if results == nil {
		return complain(exitFailed, err)
	}
	if err := errors.Join(err, show(cfg, results)); err != nil {
		return complain(exitFailed, err)
	}
	if failed(results) {
		return exitFailed
	}
	return exitOK
}

// reported is the exit of bench report.
func reported(err error) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, report.ErrUsage):
		return complain(exitUsage, err)
	}
	return complain(exitFailed, err)
}

// show writes the reports.
func show(cfg *config, r *record.Run) error {
	if !cfg.quiet {
		fmt.Print(report.Legend, "\n")
	}
	errs := []error{report.Table(os.Stdout, r)}
	if !cfg.quiet {
		fmt.Print(report.Checks(r.Checks))
	}
	if cfg.json != "" {
		errs = append(errs, write(cfg.json, r.Write))
	}
	if cfg.html != "" {
		errs = append(errs, write(cfg.html, func(w io.Writer) error { return report.HTML(w, r) }))
	}
	return errors.Join(errs...)
}

func write(name string, to func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(to(f), f.Close())
}

// complain tells in one line what is wrong.
func complain(exit int, err error) int {
	fmt.Fprintln(os.Stderr, "bench:", strings.ReplaceAll(err.Error(), "\n", "; "))
	return exit
}
