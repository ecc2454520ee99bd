// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor_test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain fails the run if the tests leave a goroutine or a descriptor behind.
func TestMain(m *testing.M) {
	warmUp()
	before := openDescriptors()
	code := m.Run()
	if code == 0 {
		code = checkLeaks(before)
	}
	os.Exit(code)
}

// warmUp has the runtime open the descriptors that it keeps, those of its own poller.
func warmUp() {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	_ = lis.Close()
}

func checkLeaks(before []string) (code int) {
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines left after the tests:", err)
		return 1
	}
	// A closed net.Conn gives its descriptor back when its last user has returned, which may be a moment later.
	after := openDescriptors()
	for end := time.Now().Add(2 * time.Second); len(after) > len(before) && time.Now().Before(end); after = openDescriptors() {
		time.Sleep(10 * time.Millisecond)
	}
	if len(after) > len(before) {
		fmt.Fprintf(os.Stderr, "descriptors left after the tests: %d, before them there were %d\n", len(after), len(before))
		for _, d := range after {
			if !slices.Contains(before, d) {
				fmt.Fprintln(os.Stderr, " ", d)
			}
		}
		return 1
	}
	return 0
}

// openDescriptors returns "number -> what it is" for each descriptor of the process, nothing where there is no /proc.
func openDescriptors() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var open []string
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // not ReadDir's own, closed by now
			open = append(open, e.Name()+" -> "+target)
		}
	}
	return open
}
