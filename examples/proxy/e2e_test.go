// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build e2e && linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tool returns a command of a Debian package; with CI=true it must be there.
func tool(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
		t.Skip(err)
	}
	return exec.Command(name, args...)
}

// curl gets and puts a file through the proxy and hears of a server that is not there.
func TestCurl(t *testing.T) {
	file := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(file)
	uploaded := make(chan []byte, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			body, _ := io.ReadAll(r.Body)
			uploaded <- body
			return
		}
		_, _ = w.Write(file)
	}))
	p := start(t, "-to", web.Listener.Addr().String())
	url := "http://" + p.address + "/"

	got, err := tool(t, "curl", "-sSf", "--max-time", "30", url).Output()
	require.NoError(t, err)
	require.True(t, bytes.Equal(file, got))

	put := tool(t, "curl", "-sSf", "--max-time", "30", "-T", "-", url)
	put.Stdin = bytes.NewReader(file)
	out, err := put.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, bytes.Equal(file, <-uploaded))

	web.Close()
	err = tool(t, "curl", "-s", "--max-time", "30", url).Run()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 52, exit.ExitCode(), "curl's number for an empty reply")
}

// iperf3 measures through the proxy, both ways and with several connections.
func TestIperf3(t *testing.T) {
	for _, flags := range [][]string{nil, {"-R"}, {"-P", "4", "--bidir"}} {
		t.Run(strings.Join(flags, " "), func(t *testing.T) {
			_, port, err := net.SplitHostPort(start(t, "-to", iperf3Server(t)).address)
			require.NoError(t, err)
			out, err := tool(t, "iperf3", append([]string{"-c", "127.0.0.1", "-p", port, "-t", "1", "-J"}, flags...)...).Output()
			require.NoError(t, err, "%s", out)
			type sum struct{ Bytes int64 }
			var report struct {
				End struct {
					Sent     sum `json:"sum_sent"`
					Received sum `json:"sum_received"`
				}
			}
			require.NoError(t, json.Unmarshal(out, &report))
			t.Logf("%d bytes sent, %d received", report.End.Sent.Bytes, report.End.Received.Bytes)
			require.Positive(t, report.End.Received.Bytes)
		})
	}
}

// iperf3Server serves one client and returns its address. It cannot choose a port by itself, and another process may
// be faster than it with one that is free.
func iperf3Server(t *testing.T) (address string) {
	for range 20 {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address = lis.Addr().String()
		_, port, _ := net.SplitHostPort(address)
		require.NoError(t, lis.Close())
		server := tool(t, "iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", port, "--forceflush")
		said, err := server.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, server.Start())
		t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
		for lines := bufio.NewReader(said); err == nil; {
			var line string
			if line, err = lines.ReadString('\n'); strings.Contains(line, "Server listening") {
				go func() { _, _ = io.Copy(io.Discard, lines) }()
				return address
			}
		}
	}
	require.Fail(t, "iperf3 finds no port")
	return ""
}
