// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package metrics_test

import (
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/metrics"
)

func Example() {
	r, err := reactor.New(reactor.Options{Loops: 1, Measure: true})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	prometheus.MustRegister(metrics.New(r))

	families, err := prometheus.DefaultGatherer.Gather() // what promhttp.Handler() does for a scrape
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "quartet_loop_stuck" {
			fmt.Println(f.GetHelp())
		}
	}
	// Output: 1 if the loop did not answer within a second: its counters are those of the last answer.
}
