// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package inspect_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/quartet-go/quartet/reactor"
	"github.com/quartet-go/quartet/reactor/inspect"
	"github.com/stretchr/testify/require"
)

const patience = 20 * time.Second

// serving returns a page about a reactor that echoes, and a client of that.
func serving(t *testing.T) (r *reactor.Reactor, url string, client net.Conn) {
	t.Helper()
	r, err := reactor.New(reactor.Options{Loops: 2})
	require.NoError(t, err)
	echo := reactor.DataFunc(func(c *reactor.Conn, in []byte) (int, error) { return c.Write(in) })
	lis, err := r.Listen("tcp", "127.0.0.1:0", func(*reactor.Conn) (reactor.Handler, error) { return echo, nil }, nil)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx) }()
	page := httptest.NewServer(inspect.Handler(r))
	client, err = net.Dial("tcp", lis.Addr().String())
	require.NoError(t, err)
	require.NoError(t, client.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() {
		_ = client.Close()
		page.Close()
		stop()
		require.NoError(t, <-ended)
	})
	return r, page.URL, client
}

func get(t *testing.T, url string) (status int, body []byte) {
	t.Helper()
	answer, err := http.Get(url)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, body
}

func page(t *testing.T, url string) (p inspect.Page) {
	t.Helper()
	status, body := get(t, url)
	require.Equal(t, http.StatusOK, status, "%s", body)
	require.NoError(t, json.Unmarshal(body, &p), "%s", body)
	return p
}

// Without a sample the page is the reactor's Stats.
func TestStats(t *testing.T) {
	_, url, client := serving(t)
	_, err := io.WriteString(client, "hello")
	require.NoError(t, err)
	_, err = io.ReadFull(client, make([]byte, 5))
	require.NoError(t, err)
	p := page(t, url)
	require.Nil(t, p.Sample)
	require.Zero(t, p.Duration())
	require.Len(t, p.Loops, 2)
	n, _, _ := p.Total()
	require.EqualValues(t, 5, n.BytesReceived)
	require.EqualValues(t, 1, p.Listeners[0].Accepts)
}

// A sample names the connections that moved something while it lasted.
func TestSample(t *testing.T) {
	_, url, client := serving(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for buf := make([]byte, 100); ; {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := client.Write(buf); err != nil {
				t.Error(err)
				return
			}
			if _, err := io.ReadFull(client, buf); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var p inspect.Page
	for end := time.Now().Add(patience); time.Now().Before(end); { // in one for which the machine stood still nothing moved
		if p = page(t, url+"?sample=100ms&flows=3"); len(p.Sample.Flows) > 0 {
			break
		}
	}
	close(stop)
	<-stopped
	require.GreaterOrEqual(t, p.Duration(), 100*time.Millisecond)
	require.Len(t, p.Sample.Flows, 1)
	f := p.Sample.Flows[0]
	require.Equal(t, client.LocalAddr().String(), f.Tuple.Remote.String())
	require.Equal(t, client.RemoteAddr().String(), f.Tuple.Local.String())
	require.Positive(t, f.Received)
	before, _, _ := p.Sample.Before.Total()
	after, _, _ := p.Total()
	require.LessOrEqual(t, uint64(f.Received), after.BytesReceived-before.BytesReceived)
	require.LessOrEqual(t, f.Reads*100, f.Received)
}

// Wrong parameters are told, and too many samples at a time refused.
func TestWrong(t *testing.T) {
	r, url, _ := serving(t)
	for query, want := range map[string]string{
		"?sample=soon": `sample is "soon", want a duration above 0 and up to 30s` + "\n",
		"?sample=-1s":  `sample is "-1s", want a duration above 0 and up to 30s` + "\n",
		"?sample=31s":  `sample is "31s", want a duration above 0 and up to 30s` + "\n",
		"?flows=-1":    `flows is "-1", want a whole number from 0 to 1000` + "\n",
	} {
		status, body := get(t, url+query)
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, want, string(body))
	}
	for {
		trace, err := r.Trace(reactor.TraceOptions{Events: 1})
		if err != nil {
			break
		}
		defer trace.Stop()
	}
	status, body := get(t, url+"?sample=1ms")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, string(body), "traces record already")
}
