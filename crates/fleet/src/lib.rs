//! Scaling, pools, admission: a pure planner with a thin driver.
