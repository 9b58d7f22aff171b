package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"
)

// requestID is the key under which a handler's context has the invocation's id.
type requestID struct{}

// serve takes events from the Lambda Runtime API, one at a time, and answers each with what handle returns. It comes
// back with the reason why the API can no longer be used.
func serve[In, Out any](handle func(context.Context, In) (Out, error)) error {
	api := os.Getenv("AWS_LAMBDA_RUNTIME_API")
	if api == "" {
		return fmt.Errorf("AWS_LAMBDA_RUNTIME_API is not set: this program is started by a function platform")
	}
	base := "http://" + api + "/2018-06-01/runtime/invocation/"
	// The wait for the next event has no limit of its own.
	client := &http.Client{Timeout: 0}
	for {
		id, deadline, payload, err := next(client, base)
		if err != nil {
			return err
		}
		answer, failure := call(handle, id, deadline, payload)
		where, body := base+id+"/response", answer
		if failure != nil {
			where = base + id + "/error"
			if body, err = json.Marshal(failure); err != nil {
				return err
			}
		}
		if err := post(client, where, body); err != nil {
			return err
		}
		if failure != nil && failure.Panicked {
			// What a panic left behind is not to be trusted: the platform starts a new process.
			return fmt.Errorf("the handler panicked: %s", failure.Message)
		}
	}
}

// next waits for an event.
func next(client *http.Client, base string) (id string, deadline time.Time, payload []byte, err error) {
	reply, err := client.Get(base + "next")
	if err != nil {
		return "", time.Time{}, nil, err
	}
	defer reply.Body.Close()
	payload, err = io.ReadAll(reply.Body)
	if err != nil {
		return "", time.Time{}, nil, err
	}
	if reply.StatusCode != http.StatusOK {
		return "", time.Time{}, nil, fmt.Errorf("next: %s: %s", reply.Status, payload)
	}
	ms, err := strconv.ParseInt(reply.Header.Get("Lambda-Runtime-Deadline-Ms"), 10, 64)
	if err != nil {
		return "", time.Time{}, nil, fmt.Errorf("next: deadline: %w", err)
	}
	// Libraries for traces read it there.
	if err := os.Setenv("_X_AMZN_TRACE_ID", reply.Header.Get("Lambda-Runtime-Trace-Id")); err != nil {
		return "", time.Time{}, nil, err
	}
	return reply.Header.Get("Lambda-Runtime-Aws-Request-Id"), time.UnixMilli(ms), payload, nil
}

// failure is what the caller of a failed invocation is told.
type failure struct {
	Message  string   `json:"errorMessage"`
	Type     string   `json:"errorType"`
	Trace    []string `json:"stackTrace,omitempty"`
	Panicked bool     `json:"-"`
}

// call runs the handler for one event, until its deadline as far as it heeds its context.
func call[In, Out any](
	handle func(context.Context, In) (Out, error), id string, deadline time.Time, payload []byte,
) (answer []byte, failed *failure) {
	ctx, cancel := context.WithDeadline(context.WithValue(context.Background(), requestID{}, id), deadline)
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			stack := string(debug.Stack())
			failed = &failure{
				Message: fmt.Sprint(cause), Type: fmt.Sprintf("%T", cause), Trace: []string{stack}, Panicked: true,
			}
		}
	}()
	var in In
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, describe(err)
	}
	out, err := handle(ctx, in)
	if err != nil {
		return nil, describe(err)
	}
	answer, err = json.Marshal(out)
	if err != nil {
		return nil, describe(err)
	}
	return answer, nil
}

func describe(err error) *failure {
	return &failure{Message: err.Error(), Type: fmt.Sprintf("%T", err)}
}

// post sends an answer. One that is too large is refused with 413, and the caller told so: the loop goes on.
func post(client *http.Client, where string, body []byte) error {
	reply, err := client.Post(where, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	said, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	if reply.StatusCode != http.StatusAccepted && reply.StatusCode != http.StatusRequestEntityTooLarge {
		return fmt.Errorf("%s: %s: %s", where, reply.Status, said)
	}
	return nil
}
